//! ACL LOG. Each lane tells what it has noted, entry by entry, and the lane that was asked makes one list of all.
//!
//! ```text
//!  lane's answer   [now, wanted, [count, reason, context, object, user, client, id, created, updated], ...]
//! ```

use crate::admin::acl::{Context, Denial, LogEntry, Reason, merged_log};
use crate::base::ascii::{is_word, parse_i64};
use crate::base::time::Millis;
use crate::command::merge::Merging;
use crate::command::{Desk, Outcome};
use crate::wire::fault::Fault;
use crate::wire::reply::Reply;
use crate::wire::request::Args;
use crate::wire::walk::{self, Element, Walk};

/// Entries that are told if no number is given, as in Redis.
const TOLD: i64 = 10;

pub(super) fn tell(desk: &mut Desk<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = match (args.len(), args.get(2)) {
        (2, _) => TOLD,
        (3, Some(word)) if is_word(word, "RESET") => {
            desk.acl.log.truncate(0);
            reply.ok();
            return Ok(());
        }
        (3, Some(word)) => parse_i64(word).ok_or(Fault::NotInteger)?.max(0),
        _ => return Err(super::show::misused(args)),
    };
    reply.array(2 + desk.acl.log.entries().len());
    reply.unsigned(desk.now.millis().0);
    reply.int(wanted);
    desk.acl.log.entries().for_each(|entry| write(entry, reply));
    Ok(())
}

fn write(entry: &LogEntry, reply: &mut Reply<'_>) {
    let LogEntry { denial, count, id, created, updated_us, .. } = entry;
    reply.array(9);
    reply.unsigned(*count);
    reply.text(denial.reason.name());
    reply.text(denial.context.name());
    [&denial.object, &denial.user, &denial.client].into_iter().for_each(|text| reply.bulk(text));
    [*id, created.0, *updated_us].into_iter().for_each(|number| reply.unsigned(number));
}

/// One list of those of all lanes, the latest first.
pub fn merge(merging: &mut Merging<'_>, reply: &mut Reply<'_>) -> Outcome {
    if merging.parts.iter().any(|part| !walk::is_array(part)) {
        reply.ok();
        return Ok(());
    }
    let (mut now, mut wanted, mut entries) = (0, 0, Vec::new());
    for part in merging.parts {
        let mut walk = Walk::into_array(part);
        now = walk.next().as_ref().map_or(0, number).max(now);
        wanted = walk.next().as_ref().map_or(0, number);
        entries.extend(walk.filter_map(|element| read(&element)));
    }
    let mut entries = merged_log(entries);
    entries.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    reply.array(entries.len());
    entries.iter().for_each(|entry| show(entry, Millis(now), reply));
    Ok(())
}

fn number(element: &Element<'_>) -> u64 {
    element.integer().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn read(element: &Element<'_>) -> Option<LogEntry> {
    let mut fields = element.elements();
    let count = number(&fields.next()?);
    let mut text = || fields.next().map(|field| field.text());
    let (reason, context, object, user, client) = (text()?, text()?, text()?, text()?, text()?);
    let reason = Reason::ALL.into_iter().find(|known| known.name().as_bytes() == &*reason)?;
    let context = Context::ALL.into_iter().find(|known| known.name().as_bytes() == &*context)?;
    let denial = Denial { reason, context, object: object.into(), user: user.into(), client: client.into() };
    let [id, created, updated_us] = [fields.next()?, fields.next()?, fields.next()?].map(|field| number(&field));
    let updated = Millis(updated_us / 1000);
    Some(LogEntry { denial, count, id, created: Millis(created), updated, updated_us })
}

/// As Redis 7.2 shows it.
fn show(entry: &LogEntry, now: Millis, reply: &mut Reply<'_>) {
    let LogEntry { denial, count, id, created, updated, .. } = entry;
    reply.map(10);
    reply.text("count");
    reply.unsigned(*count);
    reply.text("reason");
    reply.text(denial.reason.name());
    reply.text("context");
    reply.text(denial.context.name());
    for (name, text) in [("object", &denial.object), ("username", &denial.user)] {
        reply.text(name);
        reply.bulk(text);
    }
    reply.text("age-seconds");
    let age_ms = u32::try_from(now.since(*updated)).unwrap_or(u32::MAX);
    reply.double(f64::from(age_ms) / 1000.0);
    reply.text("client-info");
    reply.bulk(&denial.client);
    reply.text("entry-id");
    reply.unsigned(*id);
    reply.text("timestamp-created");
    reply.unsigned(created.0);
    reply.text("timestamp-last-updated");
    reply.unsigned(updated.0);
}
