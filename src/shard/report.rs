//! What this lane has to say to INFO, and the page made of what all have said.

use super::Shard;
use crate::admin::busy::{BusyFacts, Reading};
use crate::admin::facts::{LaneFacts, LaneLine};
use crate::admin::info::{self, DbFacts, Facts, StoreFacts};
use crate::admin::memory;
use crate::command::FactsPage;
use crate::command::flags::Group;
use crate::command::server::REDIS_VERSION;
use crate::command::table::CommandId;
use crate::store::Store;
use crate::store::keyspace::Keyspace;
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

    /// A page of what these lanes know.
    pub(super) fn write_facts(
        &self,
        page: FactsPage,
        lanes: Vec<LaneFacts>,
        args: Args<'_>,
        cluster: bool,
        reply: &mut Reply<'_>,
    ) {
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
        match page {
            FactsPage::Info => {
                let sections: Vec<&[u8]> = args.from(1).iter().collect();
                reply.verbatim("txt", info::page(&facts, &sections).as_bytes());
            }
            FactsPage::MemoryDoctor => reply.verbatim("txt", memory::report(&facts).as_bytes()),
            FactsPage::MemoryStats => memory::stats(&facts, reply),
        }
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
        databases: store.open_databases().map(|(number, db)| db_facts(number, db)).collect(),
    }
}

fn db_facts(number: usize, db: &Keyspace) -> DbFacts {
    DbFacts {
        number,
        keys: db.len(),
        expiring: db.expiring(),
        expiring_inside: db.expiring_inside(),
        table_bytes: db.table_bytes(),
        deadline_bytes: db.overhead_bytes() - db.table_bytes(),
    }
}
