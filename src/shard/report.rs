//! What this lane has to say to INFO, and the page made of what all have said.

use super::Shard;
use crate::admin::busy::{BusyFacts, Reading};
use crate::admin::facts::{LaneFacts, LaneLine};
use crate::admin::info::{self, Facts, StoreFacts};
use crate::command::flags::Group;
use crate::command::server::REDIS_VERSION;
use crate::command::table::CommandId;
use crate::store::Store;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

impl Shard {
    pub(super) fn lane_facts(&mut self) -> LaneFacts {
        let line = self.lane_line();
        LaneFacts {
            lines: vec![line],
            stats: self.stats.clone(),
            gauges: self.gauges,
            store: store_facts(&self.store),
            stalls: self.stalls.facts(),
            clients: self.clients.slab.len(),
            client_memory: self.clients.slab.iter().map(|(_, client)| client.memory()).sum(),
            blocked_clients: self.clients.blocked.len(),
            journal: self.journal_facts(),
        }
    }

    fn lane_line(&mut self) -> LaneLine {
        let delay = &self.stats.stages.queue_delay;
        let queue_delay_ns = [50.0, 99.0, 99.9].map(|percentile| delay.percentile_ns(percentile));
        LaneLine {
            lane: self.me.0,
            clients: self.clients.slab.len(),
            keys: self.store.open_databases().map(|(_, db)| db.len()).sum(),
            processed: self.stats.processed,
            turns: self.gauges.turns,
            max_turn_us: self.stalls.facts().max_turn_us,
            queue_delay_ns,
            busy: self.look_how_busy(),
        }
    }

    /// Reads the thread's processor time.
    pub(super) fn look_how_busy(&mut self) -> BusyFacts {
        let up_ns = self.now.millis().0.saturating_sub(self.identity.started_ms).saturating_mul(1_000_000);
        let at_ns = self.now.mono_ns;
        let now = Reading { at_ns, cpu_ns: (self.cpu_time_ns)(), polled_ns: self.gauges.polled_ns };
        self.busy.note(now, at_ns.saturating_sub(up_ns))
    }

    /// INFO with the sections that `args` name.
    pub(super) fn write_info(&self, lanes: Vec<LaneFacts>, args: Args<'_>, cluster: bool, reply: &mut Reply<'_>) {
        let sections: Vec<&[u8]> = args.from(1).iter().collect();
        let LaneFacts { stats, gauges, store, stalls, clients, client_memory, blocked_clients, journal, lines } =
            LaneFacts::sum(lanes);
        let facts = Facts {
            config: &self.config,
            stats: &stats,
            gauges: &gauges,
            store,
            stalls,
            process: (self.process)(),
            now: self.now,
            clients,
            client_memory,
            blocked_clients,
            journal,
            identity: &self.identity,
            cluster,
            redis_version: REDIS_VERSION,
            command_names: &|i| self.table.row(CommandId(i)).name,
            family_names: &|i| Group::ALL[i].name(),
            lanes: &lines,
        };
        reply.verbatim("txt", info::page(&facts, &sections).as_bytes());
    }
}

fn store_facts(store: &Store) -> StoreFacts {
    let counters = store.counters;
    StoreFacts {
        bytes_used: store.bytes_used(),
        is_freeing: !store.graves.is_empty(),
        expired: counters.expired,
        expired_fields: counters.expired_fields,
        evicted: counters.evicted,
        hits: counters.hits,
        misses: counters.misses,
        expire_lag_us: counters.expire_lag_us,
        expire_lag_max_us: counters.expire_lag_max_us,
        expire_lags: counters.expire_lags,
        bytes_peak: store.bytes_peak,
        overhead_bytes: store.overhead_bytes(),
        bytes_by_kind: store.bytes_by_kind(),
        databases: store.open_databases().map(|(i, db)| (i, db.len(), db.expiring(), db.expiring_inside())).collect(),
    }
}
