//! Commands about keys, whatever they hold.

use super::{Command, Ctx, Flags, Group, Keys, Log, Merge, Outcome, Policy, Run};
use crate::wire::reply::Reply;
use crate::wire::request::Args;

const ROW: Command = Command { group: Group::Generic, ..Command::ROW };

pub const ROWS: &[Command] = &[
    Command {
        name: "del",
        syntax: "DEL key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::REMOVE),
        flags: Flags::WRITE,
        complexity: "O(N) where N is the number of keys",
        summary: "Removes keys; large values are freed in the background.",
        log: Log::Verbatim,
        policy: Policy::MultiShard(Merge::Sum),
        run: Run::Split { part: del },
        ..ROW
    },
    Command {
        name: "exists",
        syntax: "EXISTS key [key ...]",
        arity: -2,
        keys: Keys::all(Keys::LOOK),
        flags: Flags::READONLY.and(Flags::FAST),
        complexity: "O(N) where N is the number of keys",
        summary: "Answers how many of the keys exist, each as often as it is named.",
        policy: Policy::MultiShard(Merge::Sum),
        run: Run::Split { part: exists },
        ..ROW
    },
];

fn del(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let removed = args.from(1).iter().filter(|name| ctx.remove(ctx.key(name))).count();
    reply.count(removed);
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found = args.from(1).iter().filter(|name| ctx.exists(ctx.key(name))).count();
    reply.count(found);
    Ok(())
}
