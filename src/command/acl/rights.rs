//! Whether a user may run a request: the command, its keys with what is done to them, its channels. One question for whoever admits, whoever
//! runs a queue, whoever serves a request that waited, and ACL DRYRUN. No key is looked up for it, so that the answer tells nothing of any.

use crate::admin::acl::{Asked, Dealing, Lack, Naming, User};
use crate::command::Flags;
use crate::command::places::{Access, resolved};
use crate::command::sort;
use crate::command::table::Found;
use crate::wire::fault::{Denied, Fault, Lacking};
use crate::wire::request::Args;

/// What the user lacks for it, if anything.
pub fn check(user: &User, found: Found, args: Args<'_>) -> Result<(), Lack> {
    user.allows(asked(found, args), || keys(found, args), channels)
}

/// Why the user may not run it.
pub fn refusal(user: &User, found: Found, args: Args<'_>) -> Option<Fault> {
    if let Err(lack) = check(user, found, args) {
        return Some(denied(user, found, args, lack));
    }
    found.row.leads?;
    let option = sort::leading_option(args)?;
    let may = user.allows_reading_all(asked(found, args), || keys(found, args), channels);
    (!may).then(|| Fault::text(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")))
}

/// The fault for what a user lacks.
pub fn denied(user: &User, found: Found, args: Args<'_>, lack: Lack) -> Fault {
    let word = |word: usize| args.get(word).unwrap_or_default().into();
    let lacking = match lack {
        Lack::Command => Lacking::Command(found.row.name),
        Lack::Key(at) => Lacking::Key(word(at)),
        Lack::Channel(at) => Lacking::Channel(word(at)),
    };
    Fault::Denied(Box::new(Denied { user: user.name.clone(), lacking }))
}

fn asked<'a>(found: Found, args: Args<'a>) -> Asked<'a> {
    Asked { command: found.id.0, is_free: found.row.flags.has(Flags::NO_AUTH), first_word: args.get(1) }
}

fn keys(found: Found, args: Args<'_>) -> impl Iterator<Item = (usize, &[u8], Dealing)> {
    found.row.keys.accessed(args).map(move |(word, access)| (word, args.at(word), dealing(resolved(access, args))))
}

/// No command of the table names a channel.
fn channels<'a>() -> impl Iterator<Item = (usize, &'a [u8], Naming)> {
    std::iter::empty()
}

/// What is done to a key, of which rights speak: that it is looked at is no reading, as in Redis.
fn dealing(access: Access) -> Dealing {
    Dealing {
        reads: access.contains(&"access"),
        writes: access.iter().any(|word| matches!(*word, "insert" | "delete" | "update")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::acl::terms;
    use crate::command::Table;
    use crate::command::acl::catalog;
    use crate::config::Config;
    use crate::wire::request::Request;

    fn verdict(rules: &str, line: &str) -> Result<(), Lack> {
        let table = Table::new();
        let (catalog, config) = (catalog(&table), Config::default());
        let terms = terms(&catalog, &config);
        let mut user = User::new(b"u", terms);
        let words: Vec<Vec<u8>> = rules.split(';').map(|rule| rule.as_bytes().to_vec()).collect();
        user.apply_all(&words, terms).expect("legal rules");
        let request: Request = line.split(' ').map(str::as_bytes).collect();
        let found = table.find(request.args().at(0)).expect("a command");
        check(&user, table.innermost(found, request.args()), request.args())
    }

    #[test]
    fn keys_are_asked_for_by_what_is_done_to_them() {
        let rules = "+@all;%R~r*;%W~w*;~b*";
        for (line, verdict_wanted) in [
            ("GET r", Ok(())),
            ("GET w", Err(Lack::Key(1))),
            ("SET w 1", Ok(())),
            ("SET w 1 GET", Err(Lack::Key(1))),
            ("SET b 1 EX 5 get", Ok(())),
            ("SET r 1", Err(Lack::Key(1))),
            ("MGET r1 b r2 w", Err(Lack::Key(4))),
            ("MSET w 1 b 2 r 3", Err(Lack::Key(5))),
            ("EXISTS r w b", Ok(())),
            ("EXISTS r x", Err(Lack::Key(2))),
            ("DEL w b", Ok(())),
            ("COPY r w", Ok(())),
            ("COPY w r", Err(Lack::Key(1))),
            ("SINTERSTORE w r b", Ok(())),
            ("ZUNIONSTORE w 2 r x", Err(Lack::Key(4))),
            ("LPOP w", Err(Lack::Key(1))),
            ("PING", Ok(())),
        ] {
            assert_eq!(verdict(rules, line), verdict_wanted, "{line}");
        }
    }

    #[test]
    fn one_selector_must_allow_all_of_it() {
        let rules = "+get;~a;(+set ~b);(+mget ~a ~b)";
        for (line, verdict_wanted) in [
            ("GET a", Ok(())),
            ("SET b 1", Ok(())),
            ("MGET a b", Ok(())),
            ("GET b", Err(Lack::Key(1))),
            ("SET a 1", Err(Lack::Key(1))),
            ("MGET a c b", Err(Lack::Key(2))),
            ("DEL a", Err(Lack::Command)),
        ] {
            assert_eq!(verdict(rules, line), verdict_wanted, "{line}");
        }
    }

    #[test]
    fn commands_are_granted_whole_by_subcommand_and_by_first_word() {
        let rules = "+config|get;+select|0;+client;-client|kill";
        for (line, verdict_wanted) in [
            ("CONFIG GET x", Ok(())),
            ("CONFIG SET x y", Err(Lack::Command)),
            ("SELECT 0", Ok(())),
            ("SELECT 1", Err(Lack::Command)),
            ("CLIENT ID", Ok(())),
            ("CLIENT KILL x", Err(Lack::Command)),
            ("AUTH x", Ok(())),
            ("QUIT", Ok(())),
        ] {
            assert_eq!(verdict(rules, line), verdict_wanted, "{line}");
        }
    }

    #[test]
    fn sort_by_other_keys_wants_all_of_them() {
        let table = Table::new();
        let (catalog, config) = (catalog(&table), Config::default());
        let terms = terms(&catalog, &config);
        let refused = |rules: &[&str], line: &str| {
            let mut user = User::new(b"u", terms);
            let words: Vec<Vec<u8>> = rules.iter().map(|rule| rule.as_bytes().to_vec()).collect();
            user.apply_all(&words, terms).expect("legal rules");
            let request: Request = line.split(' ').map(str::as_bytes).collect();
            let found = table.find(b"sort").expect("it is there");
            refusal(&user, found, request.args()).map(|fault| fault.line().into_owned())
        };
        let by = Some("ERR BY option of SORT denied due to insufficient ACL permissions.".to_owned());
        let get = Some("ERR GET option of SORT denied due to insufficient ACL permissions.".to_owned());
        assert_eq!(refused(&["+sort", "~l"], "SORT l BY w_*"), by);
        assert_eq!(refused(&["+sort", "~l"], "SORT l GET #"), get);
        assert_eq!(refused(&["+sort", "~l"], "SORT l BY nosort"), None);
        assert_eq!(refused(&["+sort", "~l", "%R~*"], "SORT l BY w_* GET u_*"), None);
        assert_eq!(refused(&["+sort", "~l", "(+get ~*)"], "SORT l BY w_*"), by);
        assert_eq!(refused(&["+sort", "allkeys"], "SORT l BY w_*"), None);
    }
}
