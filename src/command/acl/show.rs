//! ACL CAT, DRYRUN, GENPASS, GETUSER, LIST, USERS, WHOAMI: what there is, told by the lane that is asked, since all know the same.

use super::rights;
use crate::admin::acl::{CATEGORY_NAMES, Categories, Selector};
use crate::base::ascii::parse_i64;
use crate::command::{Desk, Outcome};
use crate::wire::fault::{Fault, shown};
use crate::wire::reply::Reply;
use crate::wire::request::Args;

pub(super) fn cat(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match (args.len(), args.get(2)) {
        (2, _) => {
            reply.array(CATEGORY_NAMES.len());
            CATEGORY_NAMES.iter().for_each(|name| reply.text(name));
        }
        (3, Some(name)) => {
            let unknown = || Fault::text(format!("ERR Unknown category '{}'", shown(name, 128)));
            let (category, _) = Categories::named(name).ok_or_else(unknown)?;
            let commands: Vec<u16> = desk.acl.catalog.within(category).collect();
            reply.array(commands.len());
            commands.into_iter().for_each(|command| reply.text(desk.acl.catalog.name(command)));
        }
        _ => return Err(misused(args)),
    }
    Ok(())
}

pub(super) fn dryrun(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (name, words) = (args.at(2), args.from(3));
    let nobody = || Fault::text(format!("ERR User '{}' not found", shown(name, 128)));
    let user = desk.acl.users.named(name).ok_or_else(nobody)?;
    let unknown = || Fault::text(format!("ERR Command '{}' not found", shown(words.at(0), 128)));
    let mut found = desk.table.find(words.at(0)).ok_or_else(unknown)?;
    if !found.row.children.is_empty()
        && let Some(word) = words.get(1)
    {
        found = desk.table.find_child(found, word).ok_or_else(unknown)?;
    }
    if !found.row.arity_fits(words.len()) && !found.row.lacks_a_value(words.len()) {
        return Err(Fault::Arity(found.row.name));
    }
    match rights::check(user, found, words) {
        Ok(()) => reply.ok(),
        Err(lack) => match rights::denied(user, found, words, lack) {
            Fault::Denied(denied) => reply.bulk(denied.in_full().as_bytes()),
            fault => return Err(fault),
        },
    }
    Ok(())
}

const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;

pub(super) fn genpass(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let bits = match (args.len(), args.get(2)) {
        (2, _) => PASSWORD_BITS,
        (3, Some(bits)) => parse_i64(bits).ok_or(Fault::NotInteger)?,
        _ => return Err(misused(args)),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(Fault::text(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = usize::try_from(bits).expect("just bounded").div_ceil(4);
    let mut password = String::with_capacity(digits + 64);
    while password.len() < digits {
        let random = (desk.entropy)().map_err(|why| Fault::text(format!("ERR no random numbers: {why}")))?;
        random.iter().for_each(|byte| password.push_str(&format!("{byte:02x}")));
    }
    password.truncate(digits);
    reply.text(&password);
    Ok(())
}

pub(super) fn getuser(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(user) = desk.acl.users.named(args.at(2)) else {
        reply.null();
        return Ok(());
    };
    reply.map(6);
    reply.text("flags");
    reply.set(user.flags().count());
    user.flags().for_each(|flag| reply.text(flag));
    reply.text("passwords");
    reply.array(user.passwords().len());
    user.passwords().for_each(|hash| reply.text(&hash));
    let mut selectors = user.selectors();
    selectors.next().into_iter().for_each(|first| tell_selector(first, reply));
    let others: Vec<&Selector> = selectors.collect();
    reply.text("selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        tell_selector(selector, reply);
    }
    Ok(())
}

fn tell_selector(selector: &Selector, reply: &mut Reply<'_>) {
    let rules = [
        ("commands", selector.command_rules()),
        ("keys", selector.key_rules()),
        ("channels", selector.channel_rules()),
    ];
    for (name, rules) in rules {
        reply.text(name);
        reply.bulk(&rules);
    }
}

pub(super) fn list(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(desk.acl.users.len());
    desk.acl.users.iter().for_each(|user| reply.bulk(&user.line()));
    Ok(())
}

pub(super) fn users(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(desk.acl.users.len());
    desk.acl.users.iter().for_each(|user| reply.bulk(&user.name));
    Ok(())
}

pub(super) fn whoami(desk: &mut Desk<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let user = desk.client().user;
    reply.bulk(&desk.acl.users.get(user).name);
    Ok(())
}

/// Too many words for a subcommand.
pub(super) fn misused(args: Args<'_>) -> Fault {
    Fault::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try ACL HELP.",
        shown(args.at(1), 128)
    ))
}
