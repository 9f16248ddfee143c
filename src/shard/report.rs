//! What this lane has to say to INFO, and the page made of what all have said.

use super::Shard;
use crate::admin::facts::LaneFacts;
use crate::admin::info::{self, Facts, StoreFacts};
use crate::command::server::REDIS_VERSION;
use crate::command::table::CommandId;
use crate::store::Store;
use crate::wire::reply::Reply;
use crate::wire::request::Args;

impl Shard {
    pub(super) fn lane_facts(&self) -> LaneFacts {
        LaneFacts {
            stats: self.stats.clone(),
            gauges: self.gauges,
            store: store_facts(&self.store),
            stalls: self.stalls.facts(),
            clients: self.clients.slab.len(),
            client_memory: self.clients.slab.iter().map(|(_, client)| client.memory()).sum(),
            blocked_clients: self.clients.blocked.len(),
        }
    }

    /// INFO with the sections that `args` name.
    pub(super) fn write_info(&self, lanes: Vec<LaneFacts>, args: Args<'_>, cluster: bool, reply: &mut Reply<'_>) {
        let sections: Vec<&[u8]> = args.from(1).iter().collect();
        let LaneFacts { stats, gauges, store, stalls, clients, client_memory, blocked_clients } = LaneFacts::sum(lanes);
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
            identity: &self.identity,
            cluster,
            redis_version: REDIS_VERSION,
            command_names: &|i| self.table.row(CommandId(i)).name,
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
        evicted: counters.evicted,
        hits: counters.hits,
        misses: counters.misses,
        expire_lag_us: counters.expire_lag_us,
        expire_lag_max_us: counters.expire_lag_max_us,
        expire_lags: counters.expire_lags,
        bytes_peak: store.bytes_peak,
        overhead_bytes: store.overhead_bytes(),
        bytes_by_kind: store.bytes_by_kind(),
        databases: store.open_databases().map(|(i, db)| (i, db.len(), db.expiring())).collect(),
    }
}
