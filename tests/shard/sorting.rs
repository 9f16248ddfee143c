//! SORT of very many elements whose weights and values are on every lane: in slices, and of one moment all the same.

use super::blocking::World;
use super::effects::{dump, effects_in, repeat};
use super::{Driver, request};
use corelane::base::time::{Millis, Now};
use corelane::shard::Setup;

const ELEMENTS: usize = 3000;

/// The weight of an element, each another.
fn weight(element: usize) -> usize {
    element * 1009 % ELEMENTS
}

fn filled(count: usize) -> World {
    let lanes = u16::try_from(count).expect("few");
    let mut world = World::made(count, |lane| Setup::plain(lane, lanes));
    world.lanes.iter_mut().for_each(|lane| lane.shard.effects().recording = true);
    let conn = world.connect(0);
    for some in (0..ELEMENTS).collect::<Vec<_>>().chunks(100) {
        let mut push = vec!["RPUSH".to_owned(), "l".to_owned()];
        let mut set = vec!["MSET".to_owned()];
        for i in some {
            push.push(i.to_string());
            set.extend([format!("w_{i}"), weight(*i).to_string(), format!("v_{i}"), format!("value{i}")]);
        }
        for words in [push, set] {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            world.call(0, conn, &words);
        }
    }
    world
}

fn go_on(world: &mut World, turns: usize) {
    (0..turns).for_each(|_| (0..world.lanes.len()).for_each(|at| world.turn(at, usize::MAX, None)));
}

/// All that `SORT l BY w_* GET # GET v_*` says.
fn wanted() -> Vec<String> {
    let mut elements: Vec<usize> = (0..ELEMENTS).collect();
    elements.sort_unstable_by_key(|element| weight(*element));
    elements.into_iter().flat_map(|element| [element.to_string(), format!("value{element}")]).collect()
}

fn array(items: &[String]) -> String {
    let bulks: String = items.iter().map(|item| format!("${}\r\n{item}\r\n", item.len())).collect();
    format!("*{}\r\n{bulks}", items.len())
}

fn is_quiet(world: &mut World) {
    go_on(world, 200);
    assert!(world.lanes.iter().all(|lane| lane.shard.is_quiet()), "nothing is held when all is over");
}

#[test]
fn what_is_sorted_and_found_is_of_one_moment() {
    for count in 1..=3 {
        let mut world = filled(count);
        let (asks, writes, reads) = (world.connect(0), world.connect(count - 1), world.connect(0));
        world.turn(0, 0, Some((asks, request(&["SORT", "l", "BY", "w_*", "GET", "#", "GET", "v_*"]))));
        go_on(&mut world, 6);
        // Whoever reads is served, whoever writes waits.
        world.turn(count - 1, 0, Some((writes, request(&["MSET", "w_1", "0", "v_2", "late"]))));
        world.turn(0, 0, Some((reads, request(&["GET", "v_5"]))));
        go_on(&mut world, 6);
        assert_eq!(world.reply(0, reads).as_deref(), Some("$6\r\nvalue5\r\n"), "{count} lanes");
        assert_eq!((world.reply(0, asks), world.reply(count - 1, writes)), (None, None), "{count} lanes");
        go_on(&mut world, 200);
        assert_eq!(world.reply(0, asks).expect("by now"), array(&wanted()), "{count} lanes");
        assert_eq!(world.reply(count - 1, writes).as_deref(), Some("+OK\r\n"));
        is_quiet(&mut world);
    }
}

#[test]
fn what_is_stored_is_stated_and_nobody_sees_half_of_it() {
    for count in 1..=3 {
        let mut world = filled(count);
        let (asks, reads) = (world.connect(0), world.connect(count - 1));
        for destination in ["foo", "hello", "a"] {
            let words = ["SORT", "l", "BY", "w_*", "GET", "#", "GET", "v_*", "STORE", destination];
            world.turn(0, 0, Some((asks, request(&words))));
            go_on(&mut world, 6);
            world.turn(count - 1, 0, Some((reads, request(&["LLEN", destination]))));
            go_on(&mut world, 4);
            assert_eq!((world.reply(0, asks), world.reply(count - 1, reads)), (None, None), "{count} lanes");
            go_on(&mut world, 300);
            let len = format!(":{}\r\n", 2 * ELEMENTS);
            assert_eq!(world.reply(0, asks).as_deref(), Some(&*len), "{count} lanes");
            assert_eq!(world.reply(count - 1, reads).as_deref(), Some(&*len));
            assert_eq!(world.call(0, asks, &["LRANGE", destination, "0", "3"]), array(&wanted()[..4]));
            // Without patterns only the source's root is wanted: it may be written while its clone is sorted.
            world.turn(0, 0, Some((asks, request(&["SORT", "l", "DESC", "STORE", destination]))));
            go_on(&mut world, 2);
            world.turn(count - 1, 0, Some((reads, request(&["RPUSH", "l", "x"]))));
            go_on(&mut world, 300);
            assert_eq!(world.reply(0, asks), Some(format!(":{ELEMENTS}\r\n")));
            let last = format!("{}", ELEMENTS - 1);
            assert_eq!(world.call(0, asks, &["LRANGE", destination, "0", "0"]), array(&[last]));
            assert_eq!(world.reply(count - 1, reads), Some(format!(":{}\r\n", ELEMENTS + 1)));
            world.call(0, asks, &["RPOP", "l"]);
        }
        is_quiet(&mut world);
        for lane in &mut world.lanes {
            let mut replica = Driver::made(Setup::plain(0, 1));
            replica.now = Now { unix_us: 1, mono_ns: 1 };
            effects_in(&lane.shard.effects().take()).iter().for_each(|effect| repeat(&mut replica, effect));
            assert_eq!(dump(lane.shard.store(), world.now.millis()), dump(replica.shard.store(), Millis(0)));
        }
    }
}

#[test]
fn a_fault_in_the_end_or_a_client_that_leaves_holds_nothing() {
    for count in 1..=3 {
        let mut world = filled(count);
        let conn = world.connect(0);
        world.call(0, conn, &["SET", &format!("w_{}", ELEMENTS - 1), "no number"]);
        for words in [&["SORT", "l", "BY", "w_*", "GET", "v_*"][..], &["SORT", "l", "BY", "w_*", "STORE", "d"]] {
            world.turn(0, 0, Some((conn, request(words))));
            go_on(&mut world, 200);
            let fault = "-ERR One or more scores can't be converted into double\r\n";
            assert_eq!(world.reply(0, conn).as_deref(), Some(fault), "{count} lanes");
        }
        for words in
            [&["SORT_RO", "l", "BY", "v_*", "ALPHA"][..], &["SORT", "l"], &["SORT", "l", "GET", "v_*", "STORE", "d"]]
        {
            let leaves = world.connect(0);
            world.turn(0, 0, Some((leaves, request(words))));
            go_on(&mut world, 3);
            world.lanes[0].shard.closed(leaves);
            is_quiet(&mut world);
        }
        let expected = format!(":{ELEMENTS}\r\n");
        assert_eq!(world.call(0, conn, &["LLEN", "d"]), expected, "what was begun is done");
    }
}
