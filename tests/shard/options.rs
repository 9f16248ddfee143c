//! Options set from two lanes at one moment.

use super::request;
use super::stages::World;

/// Each lane has the options to itself, so that two that are set in opposite orders would differ for good.
#[test]
fn lanes_agree_on_what_was_set_last() {
    for rounds in 1..5 {
        let mut world = World::new(2);
        let mut replies = [Vec::new(), Vec::new()];
        for (at, samples) in ["3", "7"].into_iter().enumerate() {
            replies[at] = world.turn(at, &request(&["CONFIG", "SET", "maxmemory-samples", samples]));
        }
        // One of the lanes is slower than the other.
        for turn in 0..40 {
            for at in [0, 1] {
                if at == 0 || turn % rounds == 0 {
                    replies[at].extend(world.turn(at, b""));
                }
            }
        }
        assert_eq!(replies, [b"+OK\r\n", b"+OK\r\n"]);
        let told = [0, 1].map(|at| world.turn(at, &request(&["CONFIG", "GET", "maxmemory-samples"])));
        assert!(told[0].ends_with(b"$1\r\n3\r\n") || told[0].ends_with(b"$1\r\n7\r\n"));
        assert_eq!(told[0], told[1]);
    }
}
