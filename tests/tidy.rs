//! What the source must keep to, as far as its text shows it. One rule is one row; the walk is the same for all.
//!
//! Lines of `#[cfg(test)]` modules, by custom the end of a file, and comments are not looked at: tests may sleep and read
//! files. What the compiler can say better (types, reachability) is in the lints of Cargo.toml and in clippy.toml.

use std::fs;
use std::path::{Path, PathBuf};

/// A thing that no line of code may say, except in some places.
struct Ban {
    what: &'static [&'static str],
    /// Files or folders (with a slash at the end) below the repository where it may stand.
    except: &'static [&'static str],
    why: &'static str,
}

const RUNTIME: &str = "src/runtime/";

const BANS: &[Ban] = &[
    Ban {
        what: &["glommio::", "io_uring::", "rtrb::", "core_affinity::"],
        except: &[RUNTIME],
        why: "only runtime/ names the crates that drive it",
    },
    Ban {
        what: &["async fn", "async move", "async {", ".await"],
        except: &[RUNTIME],
        why: "handlers and state machines are plain functions",
    },
    Ban {
        what: &["Instant::now", "SystemTime::now", "clock_gettime"],
        except: &[RUNTIME],
        why: "time is an argument below runtime/",
    },
    Ban {
        what: &["thread::spawn", "thread::sleep", "thread::Builder", "thread_local!"],
        except: &[RUNTIME],
        why: "only runtime/ has threads",
    },
    // main.rs reads the config file and hands its text down.
    Ban {
        what: &["std::fs", "fs::File", "File::open", "File::create"],
        except: &[RUNTIME, "src/main.rs"],
        why: "only runtime/ touches files",
    },
    Ban {
        what: &["TcpListener", "TcpStream", "UdpSocket", "UnixStream", "UnixListener"],
        except: &[RUNTIME],
        why: "only runtime/ touches sockets",
    },
    Ban {
        what: &["static mut", "OnceLock", "LazyLock", "lazy_static"],
        except: &[RUNTIME],
        why: "no global state: what a function uses is in its arguments",
    },
    Ban { what: &["std::sync::Mutex", "RwLock"], except: &[RUNTIME], why: "a lane shares nothing" },
    Ban {
        what: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        except: UNSAFE_FILES,
        why: "unsafe stays in a few named files, each behind a safe API",
    },
    Ban { what: &["todo!(", "unimplemented!(", "dbg!("], except: &[], why: "finished code only" },
    Ban { what: &["#[ignore"], except: &[], why: "a test that does not run protects nothing" },
];

/// Where `unsafe_code` may be lifted.
const UNSAFE_FILES: &[&str] =
    &["src/runtime/ring.rs", "src/runtime/sys.rs", "src/types/dict/mod.rs", "src/store/entry.rs"];

/// Words that may not stand even in comments.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

/// Folders of src/ with the layer each belongs to: a file may import what lies below its layer, and its own folder.
const LAYERS: &[(&str, u32)] = &[
    ("base", 0),
    ("types", 1),
    ("config", 1),
    ("wire", 2),
    ("persist", 3),
    ("store", 4),
    ("admin", 4),
    ("command", 5),
    ("shard", 6),
    ("script", 6),
    ("replica", 6),
    ("runtime", 7),
];

/// A file that is longer has a second noun in it.
const LINES_MAX: usize = 1000;

#[test]
fn banned_words_stay_where_they_belong() {
    let mut found = Vec::new();
    for source in sources(&["src", "bench/src", "tuning/src"]) {
        let server = source.name.starts_with("src/");
        for (number, line) in source.code() {
            let broken =
                BANS.iter().filter(|ban| server || ban.except.is_empty()).filter(|ban| ban.forbids(&source.name, line));
            found.extend(broken.map(|ban| format!("{}:{number}: {} ({})", source.name, line.trim(), ban.why)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

impl Ban {
    fn forbids(&self, file: &str, line: &str) -> bool {
        self.what.iter().any(|word| holds_word(line, word)) && !self.except.iter().any(|place| within(file, place))
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let mut found = Vec::new();
    for source in sources(&["src", "bench/src", "tuning/src", "tests"]) {
        if source.name == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in source.lines() {
            found.extend(
                UNFINISHED
                    .iter()
                    .filter(|word| holds_word(line, word))
                    .map(|word| format!("{}:{number}: {word}", source.name)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn imports_point_down() {
    let mut found = Vec::new();
    for source in sources(&["src"]) {
        let Some((folder, own)) = layer_of_file(&source.name) else { continue };
        for (number, target) in imported_folders(&source.code_text()) {
            let theirs = layer(&target).unwrap_or_else(|| panic!("{}:{number}: {target} has no layer", source.name));
            if target != folder && theirs >= own {
                found.push(format!(
                    "{}:{number}: {folder} (layer {own}) imports {target} (layer {theirs})",
                    source.name
                ));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_folder_has_a_layer() {
    for entry in fs::read_dir(root().join("src")).expect("src").flatten() {
        let name = entry.file_name().into_string().expect("our names are UTF-8");
        let known = name == "main.rs" || name == "lib.rs" || layer(name.trim_end_matches(".rs")).is_some();
        assert!(known, "src/{name} has no layer in tests/tidy.rs");
    }
}

#[test]
fn no_file_is_too_long() {
    for source in sources(&["src", "bench/src", "tuning/src", "tests"]) {
        let count = source.text.lines().count();
        assert!(count <= LINES_MAX, "{} has {count} lines: is there a second noun inside?", source.name);
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for source in sources(&["src", "bench/src", "tuning/src", "tests"]) {
        assert!(source.text.starts_with("//!"), "{} has no head", source.name);
    }
}

/// The folders that code names as `crate::folder`, one or several in braces, each with its line.
fn imported_folders(code: &str) -> Vec<(usize, String)> {
    let mut folders = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let number = code[..at].matches('\n').count() + 1;
        let heads = match rest.strip_prefix('{') {
            Some(inner) => heads_in_braces(inner),
            None => vec![head(rest)],
        };
        folders.extend(heads.into_iter().filter(|name| is_folder(name)).map(|name| (number, name.to_owned())));
    }
    folders
}

/// The first words of the items of a brace group, up to its end; what stands in inner braces belongs to its item.
fn heads_in_braces(inner: &str) -> Vec<&str> {
    let mut heads = vec![head(inner)];
    let mut depth = 0;
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(head(&inner[at + 1..])),
            _ => {}
        }
    }
    heads
}

fn head(text: &str) -> &str {
    text.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

/// A module, not an item that lib.rs exports.
fn is_folder(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn layer(folder: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == folder).map(|(_, layer)| *layer)
}

/// Folder and layer of a file below src/; main.rs and lib.rs stand above all.
fn layer_of_file(name: &str) -> Option<(&str, u32)> {
    let folder = name.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    Some((folder, layer(folder)?))
}

struct Source {
    /// Path from the repository's root, with slashes.
    name: String,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    fn code_text(&self) -> String {
        self.code().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }

    /// Lines that are code: before the test module, without comments; none of a file that is a test module.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.name.ends_with("/tests.rs") || self.name.contains("/tests/");
        self.lines()
            .filter(move |_| !tests)
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .map(|(number, line)| (number, line.split("//").next().unwrap_or(line)))
    }
}

/// `word` with no letter, digit or underscore touching its ends where it has one there itself.
fn holds_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part_of_name) && word.starts_with(part_of_name);
        let after = line[at + word.len()..].chars().next().is_some_and(part_of_name) && word.ends_with(part_of_name);
        !before && !after
    })
}

fn within(file: &str, place: &str) -> bool {
    file == place || (place.ends_with('/') && file.starts_with(place))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    assert!(!paths.is_empty(), "no sources below {folders:?}");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).expect("below the root").to_str().expect("our names are UTF-8").to_owned();
        Source { name, text: fs::read_to_string(&path).expect("a readable source") }
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_rules_themselves_bite() {
    let folders = |code| imported_folders(code).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(
        folders("use crate::{base::{a, b}, wire::Reply,\n shard};\ncrate::store::find()"),
        ["base", "wire", "shard", "store"]
    );
    assert_eq!(folders("pub(crate) use crate::Name;"), [""; 0]);
    assert_eq!(imported_folders("a\nb\ncrate::base::c"), [(3, "base".to_owned())]);
    assert!(holds_word("let t = Instant::now();", "Instant::now"));
    assert!(!holds_word("my_async fn_name", "async fn"));
    assert!(BANS.iter().any(|ban| ban.forbids("src/shard/mod.rs", "use std::fs;")));
    assert!(!BANS.iter().any(|ban| ban.forbids("src/runtime/disk.rs", "use std::fs;")));
    let source = Source { name: "src/x.rs".into(), text: "a // b\n#[cfg(test)]\nmod tests {}".into() };
    assert_eq!(source.code().collect::<Vec<_>>(), [(1, "a ")]);
}

#[test]
fn commands_md_is_fresh() {
    assert_eq!(
        corelane::command::docs::commands_md(),
        include_str!("../COMMANDS.md"),
        "stale: corelane --commands-md > COMMANDS.md"
    );
}
