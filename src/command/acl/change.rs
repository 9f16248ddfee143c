//! ACL SETUSER, DELUSER, LOAD, SAVE. Each lane does the same to what it knows, and to its own connections.

use crate::admin::acl::{DEFAULT_NAME, SetError, has_spaces, parse_file};
use crate::admin::file;
use crate::command::server::Rewriting;
use crate::command::{Desk, Outcome};
use crate::wire::fault::{Fault, shown};
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const NO_FILE: Fault = Fault::Fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command \
     and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis \
     configuration.",
);

pub(super) fn setuser(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = args.at(2);
    if has_spaces(name) {
        return Err(Fault::Fixed("ERR Usernames can't contain spaces or null characters"));
    }
    let terms = crate::admin::acl::terms(&desk.acl.catalog, desk.config);
    desk.acl.users.set(name, args.from(3).iter(), terms).map_err(|error| match error {
        SetError::Open(word) => Fault::text(format!(
            "ERR Unmatched parenthesis in acl selector starting at '{}'.",
            shown(&word, usize::MAX)
        )),
        SetError::Word(bad) => Fault::text(format!(
            "ERR Error in ACL SETUSER modifier '{}': {}",
            shown(&bad.word, usize::MAX),
            bad.why.text()
        )),
    })?;
    desk.users_changed(&[]);
    reply.ok();
    Ok(())
}

pub(super) fn deluser(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.from(2).iter().any(|name| name == DEFAULT_NAME) {
        return Err(Fault::Fixed("ERR The 'default' user cannot be removed"));
    }
    let gone: Vec<_> = args.from(2).iter().filter_map(|name| desk.acl.users.delete(name)).collect();
    desk.users_changed(&gone);
    reply.count(gone.len());
    Ok(())
}

/// The content of the file is the third word (`shard/fetch.rs`), or why there is none the fourth.
pub(super) fn load(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let path = String::from_utf8_lossy(desk.config.aclfile()).into_owned();
    let text = match (args.get(2), args.get(3)) {
        (None, _) => return Err(NO_FILE),
        (_, Some(why)) => {
            let why = shown(why, usize::MAX);
            return Err(Fault::text(format!("ERR Error loading ACLs, opening file '{path}': {why}")));
        }
        (Some(text), None) => text,
    };
    let terms = crate::admin::acl::terms(&desk.acl.catalog, desk.config);
    let users = parse_file(&path, text, terms)
        .map_err(|wrong| Fault::text(format!("ERR {}", shown(wrong.as_bytes(), usize::MAX))))?;
    let gone = desk.acl.users.replace(users);
    desk.users_changed(&gone);
    reply.ok();
    Ok(())
}

/// The reply comes when the file is on the disk.
pub(super) fn save(desk: &mut Desk<'_>, _: Args<'_>, _: &mut Reply<'_>) -> Outcome {
    if desk.config.aclfile().is_empty() {
        return Err(NO_FILE);
    }
    let path = String::from_utf8_lossy(desk.config.aclfile()).into_owned();
    let text = desk.acl.users.text();
    let outcome: file::Outcome = (desk.replace_file)(&path, Box::new(move |_| text));
    *desk.begun = Some(Box::new(Rewriting::of(outcome, "There was an error trying to save the ACLs")));
    Ok(())
}
