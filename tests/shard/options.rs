//! Options set from two lanes at one moment.

use super::request;
use super::stages::World;

/// Each lane's options are set by one at a time: two that cross each other on their way would leave lanes that differ for good.
#[test]
fn lanes_agree_on_what_was_set_last() {
    let mut world = World::new(2);
    let set = |samples| request(&["CONFIG", "SET", "maxmemory-samples", samples]);
    let mut inputs = [set("3"), set("7")];
    let mut replies = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        // Both turn at once: neither sees what the other sends meanwhile.
        let mails = [world.mail(0), world.mail(1)];
        for (at, mail) in mails.into_iter().enumerate() {
            replies[at].extend(world.turn_with(at, mail, &std::mem::take(&mut inputs[at])));
        }
    }
    assert_eq!(replies, [b"+OK\r\n", b"+OK\r\n"]);
    let told = [0, 1].map(|at| world.turn_with(at, Vec::new(), &request(&["CONFIG", "GET", "maxmemory-samples"])));
    assert!(told[0].ends_with(b"$1\r\n3\r\n") || told[0].ends_with(b"$1\r\n7\r\n"));
    assert_eq!(told[0], told[1]);
}
