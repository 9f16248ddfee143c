//! Rules as Redis 7.2 understands and tells them, and that what is told makes the same again.

use super::*;
use crate::config::Config;
use proptest::prelude::*;

/// A few commands of each kind, in the order of their names.
fn catalog() -> Catalog {
    let rows: [(&'static str, &[&'static str]); 14] = [
        ("acl", &["slow"]),
        ("acl|cat", &["slow"]),
        ("acl|setuser", &["admin", "slow", "dangerous"]),
        ("config", &["slow"]),
        ("config|get", &["admin", "slow", "dangerous"]),
        ("config|set", &["admin", "slow", "dangerous"]),
        ("del", &["keyspace", "write", "slow"]),
        ("flushall", &["keyspace", "write", "slow", "dangerous"]),
        ("get", &["read", "string", "fast"]),
        ("getset", &["write", "string", "fast"]),
        ("hget", &["read", "hash", "fast"]),
        ("ping", &["fast", "connection"]),
        ("select", &["fast", "connection"]),
        ("set", &["write", "string", "slow"]),
    ];
    Catalog::new(
        rows.into_iter()
            .map(|(name, categories)| Entry { name, categories: Categories::of(categories.iter().copied()) }),
    )
}

fn user_of(rules: &[&str]) -> Result<User, BadWord> {
    let (catalog, config) = (catalog(), Config::default());
    let mut user = User::new(b"u", terms(&catalog, &config));
    let words: Vec<Vec<u8>> = rules.iter().map(|rule| rule.as_bytes().to_vec()).collect();
    user.apply_all(&words, terms(&catalog, &config))?;
    Ok(user)
}

fn line_of(rules: &[&str]) -> String {
    String::from_utf8(user_of(rules).expect("legal rules").line()).expect("text")
}

#[test]
fn a_user_is_told_as_in_redis() {
    for (rules, line) in [
        (&[][..], "user u off sanitize-payload resetchannels -@all"),
        (&["on", "nopass", "~*", "&*", "+@all"], "user u on nopass sanitize-payload ~* &* +@all"),
        (&["ON", "ALLKEYS", "allchannels", "AllCommands"], "user u on sanitize-payload ~* &* +@all"),
        (&["~a", "%R~b", "%w~c", "%rw~d", "~a"], "user u off sanitize-payload ~a %R~b %W~c ~d resetchannels -@all"),
        (&["%RW~*", "~a"], "user u off sanitize-payload %RW~* ~a resetchannels -@all"),
        (&["%R~a", "%W~a"], "user u off sanitize-payload ~a resetchannels -@all"),
        (&["&a", "&b", "&a"], "user u off sanitize-payload resetchannels &a &b -@all"),
        (&["+GET", "+@Read", "-get"], "user u off sanitize-payload resetchannels -@all +@read -get"),
        (&["+@all", "-config|get", "-CONFIG"], "user u off sanitize-payload resetchannels +@all -config"),
        (&["+config|get", "+config|set"], "user u off sanitize-payload resetchannels -@all +config|get +config|set"),
        (&["+config|get", "+config|set", "+config"], "user u off sanitize-payload resetchannels -@all +config"),
        (
            &["+select|0", "+SELECT|1", "+select|0"],
            "user u off sanitize-payload resetchannels -@all +select|1 +select|0",
        ),
        (&["+get", "nocommands", "+set"], "user u off sanitize-payload resetchannels -@all +set"),
        (
            &["+get", "(~x +set)", "(&y -@all +@read)"],
            "user u off sanitize-payload resetchannels -@all +get (~x resetchannels -@all +set) (resetchannels &y -@all +@read)",
        ),
        (&["(+get)", "clearselectors", "()"], "user u off sanitize-payload resetchannels -@all (resetchannels -@all)"),
        (&["on", "nopass", "+@all", "~*", "(+get)", "reset"], "user u off sanitize-payload resetchannels -@all"),
        (&["skip-sanitize-payload", ""], "user u off skip-sanitize-payload resetchannels -@all"),
        (&["~*", "resetkeys", "~k"], "user u off sanitize-payload ~k resetchannels -@all"),
    ] {
        assert_eq!(line_of(rules), line, "{rules:?}");
    }
}

#[test]
fn passwords_are_kept_as_hashes() {
    let hash = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940";
    let user = user_of(&["on", ">p", ">q", ">p"]).expect("legal");
    assert_eq!(user.passwords().len(), 2);
    assert!(user.knows(b"p") && user.knows(b"q") && !user.knows(b"") && !user.knows(hash.as_bytes()));
    assert_eq!(line_of(&[&format!("#{hash}")]), format!("user u off sanitize-payload #{hash} resetchannels -@all"));
    assert_eq!(user_of(&[">p", "<p"]).expect("legal").passwords().len(), 0);
    assert_eq!(user_of(&[">p", &format!("!{hash}")]).expect("legal").passwords().len(), 0);
    let open = user_of(&[">p", "nopass"]).expect("legal");
    assert!(open.knows(b"anything") && open.passwords().len() == 0 && !open.is_open(), "it is off");
    assert!(!user_of(&["nopass", "resetpass"]).expect("legal").knows(b""));
    assert!(!user_of(&["nopass", ">p"]).expect("legal").knows(b"x"));
}

#[test]
fn what_cannot_be_taken_is_told() {
    use RuleError as E;
    for (rules, why) in [
        (&["foo"][..], E::Syntax),
        (&["+foo"], E::Unknown),
        (&["-foo"], E::Unknown),
        (&["-select|0"], E::Unknown),
        (&["+@foo"], E::Unknown),
        (&["+config|foo"], E::Unknown),
        (&["+config|get|x"], E::FirstWordOfSubcommand),
        (&["+select|"], E::Syntax),
        (&["+select|a b"], E::Syntax),
        (&["%~a"], E::Syntax),
        (&["%RR~a"], E::Syntax),
        (&["%R"], E::Syntax),
        (&["%X~a"], E::Syntax),
        (&["~a b"], E::Syntax),
        (&["&a\tb"], E::Syntax),
        (&["~*", "~a"], E::KeysAreAll),
        (&["&*", "&a"], E::ChannelsAreAll),
        (&["<x"], E::NoSuchPassword),
        (&["#x"], E::BadHash),
        (&["!x"], E::BadHash),
        (&["(+foo)"], E::Unknown),
        (&["(on)"], E::Syntax),
        (&["(\"~a)"], E::Syntax),
        (&["(+get"], E::Syntax),
        (&[")"], E::Syntax),
    ] {
        assert_eq!(user_of(rules).expect_err("not legal").why, why, "{rules:?}");
    }
}

#[test]
fn new_users_reach_the_channels_that_the_configuration_says() {
    let (catalog, mut config) = (catalog(), Config::default());
    config.set_all(&[(b"acl-pubsub-default", b"allchannels")], crate::config::Rights::Ordinary).expect("a legal value");
    let user = User::new(b"u", terms(&catalog, &config));
    assert_eq!(user.line(), b"user u off sanitize-payload &* -@all");
}

#[test]
fn only_who_may_everything_is_unlimited() {
    let catalog = catalog();
    let is_unlimited = |rules: &[&str]| user_of(rules).expect("legal").is_unlimited(&catalog);
    assert!(is_unlimited(&["~*", "&*", "+@all"]) && is_unlimited(&["(~* &* +@all)"]));
    assert!(is_unlimited(&["~*", "&*", "+@all", "-get", "+get"]));
    for rules in
        [&["~*", "+@all"][..], &["&*", "+@all"], &["~*", "&*", "+@all", "-get"], &["~a", "&*", "+@all", "(~* +@all)"]]
    {
        assert!(!is_unlimited(rules), "{rules:?}");
    }
}

fn users(lines: &str) -> Result<Vec<User>, String> {
    let (catalog, config) = (catalog(), Config::default());
    parse_file("x.acl", lines.as_bytes(), terms(&catalog, &config))
}

#[test]
fn a_file_is_taken_as_a_whole_or_not_at_all() {
    let made = users("user a on >p ~k* +get\n\n  user b off (+set ~x) \r\n").expect("a legal file");
    let names: Vec<&[u8]> = made.iter().map(|user| &*user.name).collect();
    assert_eq!(names, [&b"a"[..], b"b", b"default"]);
    let end = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (lines, wrong) in [
        ("user a on\nusers b", "x.acl:2 should start with user keyword followed by the username. "),
        ("user", "x.acl:1 should start with user keyword followed by the username. "),
        ("# no\nuser a on", "x.acl:1 should start with user keyword followed by the username. "),
        ("user a\tb on", "'x.acl:1: username 'a\tb' contains invalid characters. "),
        ("user a\nuser a", "WARNING: Duplicate user 'a' found on line 2. "),
        ("user a (+get", "x.acl:1: Unmatched parenthesis in selector definition."),
        (
            "user a +foo -bar",
            "x.acl:1: Error in applying operation '+foo': Unknown command or category name in ACL. x.acl:1: Error in applying operation '-bar': Unknown command or category name in ACL. ",
        ),
        (
            "user a foo bar\nuser b #1",
            "x.acl:1: Syntax error. x.acl:2: The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters. ",
        ),
    ] {
        assert_eq!(users(lines).expect_err("not legal"), format!("{wrong}{end}"), "{lines}");
    }
}

#[test]
fn the_same_denial_within_a_minute_is_counted() {
    let denial = |object: &str| Denial {
        reason: Reason::Command,
        context: Context::Toplevel,
        object: object.as_bytes().into(),
        user: b"u".as_slice().into(),
        client: b"id=1".as_slice().into(),
    };
    let mut log = Log::default();
    for (object, at) in [("get", 0), ("set", 10), ("get", 20), ("get", 100_000)] {
        log.note(denial(object), at_ms(at), 128, (1, 3));
    }
    let told: Vec<_> = log.entries().map(|entry| (entry.count, entry.id, entry.created.0, entry.updated.0)).collect();
    assert_eq!(told, [(1, 7, 100_000, 100_000), (2, 1, 0, 20), (1, 4, 10, 10)]);
    (0..20).for_each(|i| log.note(denial(&i.to_string()), at_ms(200_000), 5, (0, 1)));
    assert_eq!(log.entries().len(), 5, "no more than asked for");
    log.note(denial(&"x".repeat(1 << 20)), at_ms(0), 5, (0, 1));
    assert!(log.entries().all(|entry| entry.denial.object.len() <= crate::base::limits::ACL_LOG_TEXT_BYTES_MAX));
}

#[test]
fn lists_of_several_lanes_are_one() {
    let (mut one, mut other) = (Log::default(), Log::default());
    let denial = |user: &str| Denial {
        reason: Reason::Auth,
        context: Context::Toplevel,
        object: b"AUTH".as_slice().into(),
        user: user.as_bytes().into(),
        client: b"".as_slice().into(),
    };
    one.note(denial("a"), at_ms(5), 10, (0, 2));
    one.note(denial("b"), at_ms(7), 10, (0, 2));
    other.note(denial("a"), at_ms(3), 10, (1, 2));
    other.note(denial("a"), at_ms(9), 10, (1, 2));
    let merged = merged_log(one.entries().chain(other.entries()).cloned().collect());
    let told: Vec<_> = merged
        .iter()
        .map(|entry| (&*entry.denial.user, entry.count, entry.created.0, entry.updated.0, entry.id))
        .collect();
    assert_eq!(told, [(&b"a"[..], 3, 3, 9, 1), (b"b", 1, 7, 7, 2)]);
}

fn at_ms(ms: u64) -> crate::base::time::Now {
    crate::base::time::Now { unix_us: ms * 1000, mono_ns: 0 }
}

/// Rules that may stand anywhere, of which some cannot be taken where they stand.
fn any_rule() -> impl Strategy<Value = Vec<u8>> {
    let names =
        "(on|off|nopass|resetpass|reset|clearselectors|allkeys|resetkeys|allchannels|resetchannels|\\+@all|-@all)";
    let commands =
        "[+-](get|SET|acl|acl\\|cat|config|config\\|get|hget|select|nosuch|@read|@Write|@slow|@fast|@nosuch)";
    let words = prop_oneof![
        names.prop_map(String::into_bytes),
        commands.prop_map(String::into_bytes),
        "\\+select\\|[a-c0-9)\"'|]{1,3}".prop_map(String::into_bytes),
        "[><][a-c]{0,2}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(|rest| [b"~", &rest[..]].concat()),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(|rest| [b"&", &rest[..]].concat()),
        "%(R|W|RW|wr|)~[a-c*)\"'\\\\]{0,4}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    words.boxed()
}

proptest! {
    /// What is told of a user makes the same user again: word by word, as a line of the ACL file, as a line of the configuration.
    #[test]
    fn what_is_told_makes_the_same_again(rules in prop::collection::vec(any_rule(), 0..14), inside in prop::collection::vec(any_rule(), 0..8)) {
        let (catalog, config) = (catalog(), Config::default());
        let terms = terms(&catalog, &config);
        let mut user = User::new(b"u", terms);
        for rule in &rules {
            let _ = user.apply(rule, terms);
        }
        let mut selector = Vec::new();
        for rule in inside {
            let mut longer: Vec<Vec<u8>> = selector.clone();
            longer.push(rule);
            let mut with = user.clone();
            if with.apply(&[&b"("[..], &longer.join(&b' '), b")"].concat(), terms).is_ok() {
                selector = longer;
            }
        }
        let _ = user.apply(&[&b"("[..], &selector.join(&b' '), b")"].concat(), terms);
        let told = user.words();
        let mut again = User::new(b"u", terms);
        prop_assert_eq!(again.apply_all(&told, terms), Ok(()));
        prop_assert_eq!(again.words(), told.clone());
        prop_assert_eq!(&again, &user);
        let from_file = parse_file("x", &user.line(), terms).expect("a legal file");
        prop_assert_eq!(&from_file[0], &user);
        let now = crate::config::rewrite::UserNow { name: b"u".to_vec(), rules: told, as_read: None };
        let text = config.rewritten(b"", &[now]);
        let mut read = Config::default();
        read.apply_file("x.conf", &text, &mut |_| Ok(Vec::new())).expect("a legal file");
        prop_assert_eq!(user_of_line(&read.users()[0], &read, &catalog), Ok(user));
    }

    /// Whatever is in a file: it is taken or refused, and what is refused is told in one line of text.
    #[test]
    fn any_file_is_taken_or_refused(text in "(user |u|on|\\+get|\\(|\\)|~a|>p|\"|\n| |\t|default|#){0,40}") {
        match users(&text) {
            Ok(made) => prop_assert!(made.iter().any(|user| &*user.name == DEFAULT_NAME)),
            Err(why) => prop_assert!(why.ends_with("was performed") && !why.contains('\n')),
        }
    }

    /// A set of commands by its rules is the same as by what the rules say one after the other.
    #[test]
    fn denied_and_granted_follow_the_last_word(rules in prop::collection::vec("[+-](get|set|config|config\\|get|@read|@slow|@all)", 0..10)) {
        let catalog = catalog();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let Ok(user) = user_of(&rules) else { return Ok(()) };
        for command in 0..u16::try_from(catalog.len()).expect("few") {
            let name = catalog.name(command);
            let concerns = |rule: &&&str| match &rule[1..] {
                "@all" => true,
                "@read" => ["get", "hget"].contains(&name),
                // The containers are slow, and what is said of them is said of their subcommands.
                "@slow" => !["get", "getset", "hget", "ping", "select"].contains(&name),
                other => name == other || name.starts_with(&format!("{other}|")),
            };
            let last = rules.iter().rev().find(concerns);
            let asked = Asked { command, is_free: false, first_word: None };
            let may = user.allows(asked, std::iter::empty, std::iter::empty).is_ok();
            prop_assert_eq!(may, last.is_some_and(|rule| rule.starts_with('+')), "{}", name);
        }
    }
}
