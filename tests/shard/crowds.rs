//! Very many who wait for one key are served in turns, and still in order: the key is held for them.

use super::blocking::World;
use super::request;
use corelane::base::limits;
use corelane::command::blocking::{Blocking, Serve, Served, seconds};
use corelane::command::caller::answer;
use corelane::command::{Command, Flags, Group, Keys, Run};
use corelane::shard::{ConnId, Setup};
use corelane::store::entry::Kind;

/// One write serves all who wait.
static ROWS: [Command; 1] = [Command {
    name: "bget",
    syntax: "BGET key timeout",
    arity: 3,
    keys: Keys::one(Keys::READ),
    flags: Flags::READONLY.and(Flags::BLOCKING),
    group: Group::String,
    run: Run::Blocking(&Blocking {
        awaits: Kind::String,
        serve: Serve::FromKey(|ctx, args, word, reply| {
            let key = ctx.key(args.at(word));
            let Some(text) = ctx.string(key)? else { return Ok(Served::No) };
            answer(text, reply);
            Ok(Served::Yes)
        }),
        patience: |args, now| seconds(args.at(2), now),
        give_up: |reply| reply.null(),
    }),
    ..Command::ROW
}];

fn world(count: usize) -> World {
    let lanes = u16::try_from(count).expect("few");
    World::made(count, |lane| Setup { rows: &ROWS, ..Setup::plain(lane, lanes) })
}

#[test]
fn a_crowd_that_waits_for_one_key_is_served_in_turns() {
    let mut world = world(1);
    let waiters: Vec<ConnId> = (0..2000).map(|_| world.connect(0)).collect();
    for conn in &waiters {
        world.turn(0, 0, Some((*conn, request(&["BGET", "k", "0"]))));
    }
    let (writes, looks) = (world.connect(0), world.connect(0));
    let mut served = 0;
    for turn in 0.. {
        let input = match turn {
            0 => Some((writes, request(&["SET", "k", "v"]))),
            5 => Some((looks, request(&["SET", "other", "1"]))),
            6 => Some((looks, request(&["DEL", "k"]))),
            _ => None,
        };
        world.turn(0, 0, input);
        let answered = waiters[served..].iter().take_while(|conn| world.reply(0, **conn).is_some()).count();
        assert!(answered <= 2 * limits::WAITERS_PER_STEP, "turn {turn} served {answered}");
        assert!(waiters[served + answered..].iter().all(|conn| world.reply(0, *conn).is_none()), "somebody overtook");
        served += answered;
        match turn {
            0 => assert_eq!(world.reply(0, writes).as_deref(), Some("+OK\r\n")),
            5 => assert_eq!(world.reply(0, looks).as_deref(), Some("+OK\r\n"), "others are served between them"),
            6 => assert_eq!(world.reply(0, looks), None, "what they have a right to is theirs"),
            _ => {}
        }
        if served == waiters.len() {
            assert!(turn > 10);
            break;
        }
    }
    world.rest();
    assert_eq!(world.reply(0, looks).as_deref(), Some(":1\r\n"));
    assert!(world.lanes[0].shard.is_quiet());
}
