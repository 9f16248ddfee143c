//! Waking a lane that waits. A lane that is awake finds its mail by itself; a lane that waits in its ring must be woken, and a
//! wake-up costs its sender a part of a system call, so it is sent only if it is needed.
//!
//! ```text
//!   the lane that waits                          the lane that sends
//!   1  flag = true                               1  push into the ring of the mesh
//!   2  fence                                     2  fence
//!   3  look at every inbox again: mail? stay     3  flag? take it down, and send IORING_OP_MSG_RING
//!   4  wait in the ring
//! ```
//!
//! Both write first and then read what the other writes. The rings of the mesh order only acquire and release, under which both
//! reads may come before both writes: the one sees no mail, the other no flag, and the mail lies there until something else
//! happens. The two fences (sequentially consistent) forbid just that: at least one of the two sees the other. Completions need no
//! second look: the kernel does not wait while there are any.
//!
//! The one who takes the flag down rings; others that come before the lane is up need not ring again.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use super::ring::Ring;
use crate::shard::ShardId;

/// Two cache lines each: the prefetcher takes lines in pairs, and a flag is written whenever its lane waits.
#[repr(align(128))]
#[derive(Default)]
struct Flag(AtomicBool);

/// One lane's view of all flags.
pub(super) struct Doorbell {
    own: usize,
    /// By lane: it waits and has not been rung.
    waiting: Arc<[Flag]>,
    /// By lane, where to ring.
    rings: Vec<RawFd>,
}

/// The doorbells of so many lanes, in their order.
pub(super) fn doorbells(lanes: usize) -> Vec<Doorbell> {
    let waiting: Arc<[Flag]> = (0..lanes).map(|_| Flag::default()).collect();
    (0..lanes).map(|own| Doorbell { own, waiting: Arc::clone(&waiting), rings: Vec::new() }).collect()
}

impl Doorbell {
    /// Tells where each lane can be rung. Rings are made on their lanes' threads, so it is known only after all have begun.
    pub(super) fn connect(&mut self, rings: Vec<RawFd>) {
        assert_eq!(rings.len(), self.waiting.len(), "a ring for each lane");
        self.rings = rings;
    }

    /// Submits what is queued and waits for a completion or a peer, at most `timeout`; not at all if there is mail.
    #[inline]
    pub(super) fn wait(
        &self,
        ring: &mut Ring,
        has_mail: impl FnOnce() -> bool,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if self.waiting.len() == 1 {
            return ring.wait(timeout);
        }
        self.announce();
        let waited = if has_mail() { ring.submit() } else { ring.wait(timeout) };
        self.waiting[self.own].0.store(false, Ordering::Relaxed);
        waited
    }

    /// From here on whoever sends also rings. The caller looks at its inboxes once more before it waits.
    pub(super) fn announce(&self) {
        self.waiting[self.own].0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Queues a doorbell for each of `peers`, which were all sent something, that waits.
    #[inline]
    pub(super) fn ring(&self, peers: impl Iterator<Item = ShardId>, ring: &mut Ring) {
        self.sleepers(peers).for_each(|peer| ring.doorbell(self.rings[usize::from(peer.0)]));
    }

    /// Those of `peers`, which were all sent something before this call, that wait and are now ours to ring. A flag is read before
    /// it is written: most peers do not wait, and its line stays shared.
    #[inline]
    pub(super) fn sleepers(&self, peers: impl Iterator<Item = ShardId>) -> impl Iterator<Item = ShardId> {
        fence(Ordering::SeqCst);
        peers.filter(|peer| {
            let flag = &self.waiting[usize::from(peer.0)].0;
            flag.load(Ordering::Relaxed) && flag.swap(false, Ordering::Relaxed)
        })
    }

    /// Queues a doorbell for every peer, waiting or not.
    pub(super) fn ring_all(&self, ring: &mut Ring) {
        for (lane, fd) in self.rings.iter().enumerate() {
            if lane != self.own {
                ring.doorbell(*fd);
            }
        }
    }
}
