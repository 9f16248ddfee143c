//! Looking after connections: idle timeouts, output limits, readers that never read. In slices, all of them about once a second.

use super::{ConnId, Shard};
use crate::base::limits;
use crate::base::time::Millis;
use crate::command::clients::{Client, Closing};

/// How far the round over all connections has come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    next_key: u32,
    next_ns: u64,
}

impl Shard {
    /// Looks at some connections if it is time; when it wants to go on.
    pub(super) fn sweep_clients(&mut self) -> Option<u64> {
        if self.clients.slab.is_empty() {
            return None;
        }
        if self.now.mono_ns < self.sweep.next_ns {
            return Some(self.sweep.next_ns);
        }
        self.store.note_peak();
        if self.busy.is_due(self.now.mono_ns) {
            self.look_how_busy();
        }
        let end = self.sweep.next_key + limits::SWEEP_CONNECTIONS;
        for key in self.sweep.next_key..end {
            self.look_after(ConnId(key));
        }
        let slices = u64::from(self.clients.slab.places() / limits::SWEEP_CONNECTIONS + 1);
        self.sweep.next_key = if end >= self.clients.slab.places() { 0 } else { end };
        self.sweep.next_ns = self.now.mono_ns + limits::SWEEP_NS / slices;
        Some(self.sweep.next_ns)
    }

    fn look_after(&mut self, conn: ConnId) {
        let now = self.now.millis();
        let Some(client) = self.clients.get(conn) else { return };
        let idle_ms = self.config.timeout_s().unsigned_abs() * 1000;
        if idle_ms > 0 && now.since(client.active) > idle_ms && client.unsent() == 0 && client.owed.is_empty() {
            self.stats.idle_closed += 1;
            self.clients.close(conn, Closing::Now);
        } else if client.stalled_since.is_some_and(|since| now.since(since) > limits::OUTPUT_STALL_MS) {
            self.cut_off(conn);
        } else {
            self.check_output_limit(conn);
        }
    }

    /// `client-output-buffer-limit normal`: closed at once above the hard limit, after so many seconds above the soft one.
    pub(super) fn check_output_limit(&mut self, conn: ConnId) {
        let unproven =
            |client: &Client| !client.is_let_in() && client.unsent() > limits::UNAUTHENTICATED_OUTPUT_BYTES_MAX;
        if self.clients.get(conn).is_some_and(unproven) {
            return self.cut_off(conn);
        }
        let limit = self.config.output_limit_normal();
        if limit.hard_bytes == 0 && limit.soft_bytes == 0 {
            return;
        }
        let now = self.now.millis();
        let Some(client) = self.clients.get_mut(conn) else { return };
        let unsent = client.unsent() as u64;
        let over_hard = limit.hard_bytes > 0 && unsent > limit.hard_bytes;
        let over_soft = limit.soft_bytes > 0 && unsent > limit.soft_bytes;
        client.over_soft_since = over_soft.then(|| client.over_soft_since.unwrap_or(now));
        let soft_ms = Millis(limit.soft_seconds * 1000);
        if over_hard || client.over_soft_since.is_some_and(|since| now.since(since) > soft_ms.0) {
            self.cut_off(conn);
        }
    }

    fn cut_off(&mut self, conn: ConnId) {
        self.stats.output_limit_closed += 1;
        self.clients.close(conn, Closing::Now);
    }
}
