//! One order for everything that ran, or the proof that there is none.
//!
//! ```text
//!  lane 0:  SET a 1 --> MSET a b --> GET a            edges: 1. two requests that touch one key of a lane, one of them writing,
//!                          |                                    in the order of that lane
//!  lane 1:  GET b -----> (the same) --> SET b 2              2. a reply was read before the other request was sent
//!                                                            3. a connection's requests on one lane, as they were sent
//!  a topological sort of all of it; a cycle is a failure     4. pipeline-order strict: a write after its connection's earlier
//!                                                               requests;  WATCH before its EXEC before the next WATCH
//! ```
//!
//! Reads of one key, and requests that share none, may have any order on different lanes, and so have no edge. Requests that answer
//! from a changing keyspace (`footprint::LOOSE`) have no place. A WATCH is one node per lane: nobody can see whether its parts are at
//! one moment. What waits is two: its look at its keys, and its being served. Real time is a chain of the moments at which replies were read, so that edges stay linear in number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use corelane::base::time::Millis;
use corelane::command::blocking::{Blocking, Serve};
use corelane::command::{Command, Run};

use super::footprint::{self, Access, Footprint, Place, is_loose};
use super::frames;
use super::log::{CallId, Log, Moment};

/// What of a request a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All of it; of one that may wait, its look at its keys.
    Whole,
    /// A lane's part of a WATCH.
    Watch(usize),
    /// It was to be served from the key at this word at this time, but found nothing and waits on: only who moves an element, whose other key
    /// may be held.
    Tried(usize, Millis),
    /// It had waited, and is served from the key at this word.
    Served(usize),
}

/// A request, or a part of it, with the place it has in the order.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) call: CallId,
    pub(crate) part: Part,
    pub(crate) now: Option<Millis>,
    /// When the first and the last of its parts ran.
    pub(crate) first: Moment,
    pub(crate) last: Moment,
    pub(crate) footprint: Footprint,
    /// What its random choice began with.
    pub(crate) choice: Option<u64>,
}

type NodeId = usize;

/// Requests in an order that explains what was seen, as far as order goes.
///
/// # Errors
/// When there is none, or a shard ran something at the wrong time or that nobody asked for.
pub(crate) fn serial_order(log: &Log) -> Result<Vec<Node>, String> {
    let mut graph = Graph::default();
    let mut ids = BTreeMap::new();
    let last_tries = last_tries(log);
    for (lane, runs) in log.runs.iter().enumerate() {
        graph.add_lane(log, lane, runs, &last_tries, &mut ids)?;
    }
    graph.add_silent_execs(log, &ids);
    graph.add_real_time(log);
    graph.add_pipelines(log);
    graph.sort(log)
}

#[derive(Default)]
struct Graph {
    /// None: a point that only edges meet in.
    nodes: Vec<Option<Node>>,
    edges: Vec<Vec<NodeId>>,
}

impl Graph {
    fn add(&mut self, node: Option<Node>) -> NodeId {
        self.nodes.push(node);
        self.edges.push(Vec::new());
        self.nodes.len() - 1
    }

    fn edge(&mut self, from: NodeId, to: NodeId) {
        if from != to {
            self.edges[from].push(to);
        }
    }

    /// What a lane says it ran, with the conflicts there.
    fn add_lane(
        &mut self,
        log: &Log,
        lane: usize,
        runs: &[(Moment, corelane::shard::Ran)],
        last_tries: &BTreeMap<CallId, Millis>,
        ids: &mut BTreeMap<(CallId, Part), NodeId>,
    ) -> Result<(), String> {
        let mut conflicts = Conflicts::default();
        let mut by_client = BTreeMap::new();
        for (moment, ran) in runs {
            let call = log.find(ran).ok_or_else(|| format!("lane {lane} ran what nobody sent: {ran:?}"))?;
            if log.call(call).sent.is_none_or(|sent| sent > *moment) {
                return Err(format!("lane {lane} ran it before it was sent: {}", log.describe(call)));
            }
            // A lane of which EXEC only held watched keys hears that it is over when the reply has left. So does one that enrols what another
            // has served meanwhile.
            let may_be_late = log.call(call).is("exec") || log.call(call).may_wait() && ran.served.is_none();
            if log.call(call).answered.is_some_and(|answered| answered < *moment) && !may_be_late {
                return Err(format!("lane {lane} ran it after it was answered: {}", log.describe(call)));
            }
            if is_loose(log.call(call)) || log.call(call).is_misplaced {
                continue;
            }
            let part = match ran.served {
                Some(word) if last_tries.get(&call).is_some_and(|last| ran.now < *last) => Part::Tried(word, ran.now),
                Some(word) => Part::Served(word),
                None if log.call(call).is("watch") => Part::Watch(lane),
                None => Part::Whole,
            };
            let id = match ids.get(&(call, part)) {
                Some(&id) => id,
                None => {
                    let footprint = footprint_of(log, call, part);
                    let (first, last) = (*moment, *moment);
                    let id = self.add(Some(Node {
                        call,
                        part,
                        now: Some(ran.now),
                        first,
                        last,
                        footprint,
                        choice: ran.choice,
                    }));
                    ids.insert((call, part), id);
                    id
                }
            };
            let node = self.nodes[id].as_mut().expect("added with its call");
            // What was watched is judged at the time of each lane, before the one time of the whole is known.
            if log.call(call).is("exec") {
                node.now = node.now.max(Some(ran.now));
            }
            if node.now < Some(ran.now) || node.now != Some(ran.now) && !log.call(call).is("exec") {
                return Err(format!(
                    "two lanes ran it at different times, {:?} and {:?}: {}",
                    node.now,
                    ran.now,
                    log.describe(call)
                ));
            }
            // What one lane found has decided it, wherever others had got to.
            if node.last != *moment && log.call(call).is("exec") && frames::is_null(&log.call(call).reply) {
                continue;
            }
            // Lanes are gone through one after the other, not in the order of time.
            (node.first, node.last) = (node.first.min(*moment), node.last.max(*moment));
            let footprint = node.footprint.on_lane(lane, log.runs.len());
            conflicts.add(self, id, footprint);
            by_client.insert((call, part), id);
        }
        // Requests of one connection on one lane take effect as if in the order in which they were sent.
        for (((before, _), from), ((call, _), to)) in by_client.iter().zip(by_client.iter().skip(1)) {
            if before.client == call.client {
                self.edge(*from, *to);
            }
        }
        Ok(())
    }

    /// An EXEC may be refused without asking any lane: its place follows from time alone.
    fn add_silent_execs(&mut self, log: &Log, ids: &BTreeMap<(CallId, Part), NodeId>) {
        for (client, calls) in log.clients.iter().enumerate() {
            for (number, call) in calls.calls.iter().enumerate() {
                let id = CallId { client, number };
                if let Some(answered) =
                    call.answered.filter(|_| call.is("exec") && !ids.contains_key(&(id, Part::Whole)))
                {
                    let footprint = Footprint::Keys(Vec::new());
                    self.add(Some(Node {
                        call: id,
                        part: Part::Whole,
                        now: None,
                        first: answered,
                        last: answered,
                        footprint,
                        choice: None,
                    }));
                }
            }
        }
    }

    fn add_real_time(&mut self, log: &Log) {
        let times: Vec<(Option<Moment>, Option<Moment>)> = self
            .nodes
            .iter()
            .map(|node| node.as_ref().map(|node| log.call(node.call)))
            .map(|call| (call.and_then(|call| call.sent), call.and_then(|call| call.answered)))
            .collect();
        let mut answers: Vec<(Moment, NodeId)> =
            times.iter().enumerate().filter_map(|(id, (_, answered))| Some(((*answered)?, id))).collect();
        answers.sort_unstable();
        let mut chain: Vec<(Moment, NodeId)> = Vec::new();
        for (answered, id) in answers {
            let point = self.add(None);
            self.edge(id, point);
            if let Some(&(_, before)) = chain.last() {
                self.edge(before, point);
            }
            chain.push((answered, point));
        }
        for (id, (sent, _)) in times.iter().enumerate() {
            let Some(sent) = sent else { continue };
            let earlier = chain.partition_point(|(answered, _)| answered < sent);
            if let Some(at) = earlier.checked_sub(1) {
                self.edge(chain[at].1, id);
            }
        }
    }

    /// The order within a connection, as far as it is promised.
    fn add_pipelines(&mut self, log: &Log) {
        let mut by_client: BTreeMap<usize, Vec<(usize, NodeId)>> = BTreeMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            if let Some(node) = node {
                by_client.entry(node.call.client).or_default().push((node.call.number, id));
            }
        }
        for (client, mut nodes) in by_client {
            nodes.sort_unstable();
            let (mut before_write, mut before_control) = (Vec::new(), Vec::new());
            for (number, id) in nodes {
                let call = &log.clients[client].calls[number];
                let writes = self.nodes[id].as_ref().is_some_and(|node| node.footprint.writes());
                if writes && log.is_strict {
                    before_write.drain(..).for_each(|before| self.edge(before, id));
                }
                before_write.push(id);
                if call.is("exec") {
                    before_control.drain(..).for_each(|before| self.edge(before, id));
                    before_control.push(id);
                } else if call.is("watch") {
                    // Its parts follow the last EXEC, which stays at the head, and precede the next.
                    if let Some(&head) = before_control.first() {
                        self.edge(head, id);
                    }
                    before_control.push(id);
                }
            }
        }
    }

    /// Kahn's algorithm; of what is free to go, what ran first goes first.
    fn sort(self, log: &Log) -> Result<Vec<Node>, String> {
        let mut indegree = vec![0; self.nodes.len()];
        self.edges.iter().flatten().for_each(|&to| indegree[to] += 1);
        let key = |id: NodeId| Reverse((self.nodes[id].as_ref().map(|node| node.first), id));
        let mut free: BinaryHeap<_> = (0..self.nodes.len()).filter(|&id| indegree[id] == 0).map(key).collect();
        let (mut sorted, mut done) = (Vec::new(), 0);
        while let Some(Reverse((_, id))) = free.pop() {
            done += 1;
            sorted.extend(self.nodes[id].clone());
            for &to in &self.edges[id] {
                indegree[to] -= 1;
                if indegree[to] == 0 {
                    free.push(key(to));
                }
            }
        }
        if done == self.nodes.len() { Ok(sorted) } else { Err(self.tell_cycle(log, &indegree)) }
    }

    fn tell_cycle(&self, log: &Log, indegree: &[usize]) -> String {
        // Walking backwards over what is not free must come round.
        let left = |id: &NodeId| indegree[*id] > 0;
        let mut before: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for (from, edges) in self.edges.iter().enumerate().filter(|(from, _)| left(from)) {
            before.extend(edges.iter().filter(|to| left(to)).map(|&to| (to, from)));
        }
        let mut at = *before.keys().next().expect("something is left");
        let mut path = Vec::new();
        while !path.contains(&at) {
            path.push(at);
            at = before[&at];
        }
        let from = path.iter().position(|id| *id == at).unwrap_or(0);
        let mut lines = vec![
            "no order explains what was seen; each of these must precede the next, and the last the first:".to_owned(),
        ];
        for id in path[from..].iter().rev() {
            lines.extend(self.nodes[*id].as_ref().map(|node| format!("  {}", log.describe(node.call))));
        }
        lines.join("\n")
    }
}

/// When those who move an element were served, or found nothing for the last time.
fn last_tries(log: &Log) -> BTreeMap<CallId, Millis> {
    let mut last = BTreeMap::new();
    for (_, ran) in log.runs.iter().flatten().filter(|(_, ran)| ran.served.is_some()) {
        if let Some(call) = log.find(ran).filter(|call| log.call(*call).row.is_some_and(moves)) {
            let at = last.entry(call).or_insert(ran.now);
            *at = ran.now.max(*at);
        }
    }
    last
}

/// Whether it is served from one key into another.
pub(crate) fn moves(row: &Command) -> bool {
    matches!(row.run, Run::Blocking(Blocking { serve: Serve::Moving(_), .. }))
}

fn footprint_of(log: &Log, id: CallId, part: Part) -> Footprint {
    let call = log.call(id);
    if let Part::Served(word) | Part::Tried(word, _) = part {
        let is_moved = call.row.is_some_and(moves);
        return if is_moved {
            footprint::of_call(call, call.db)
        } else {
            Footprint::Keys(vec![((call.db, call.words[word].clone()), Access::Write)])
        };
    }
    if call.is("exec") { footprint::of_exec(log, id) } else { footprint::of_call(call, call.db) }
}

/// What ran on a lane so far, as far as a later request may conflict with it.
#[derive(Default)]
struct Conflicts {
    keys: BTreeMap<Place, Accesses>,
    /// The last that wrote everything, and all since.
    flood: Option<NodeId>,
    since_flood: Vec<NodeId>,
    /// Readers of everything against writers of anything: groups in turn, a point between each and the next.
    tide: Tide,
}

#[derive(Default)]
struct Accesses {
    writer: Option<NodeId>,
    readers: Vec<NodeId>,
}

#[derive(Default)]
struct Tide {
    /// What the present group is.
    is_reading: bool,
    group: Vec<NodeId>,
    /// Behind the group before.
    point: Option<NodeId>,
}

impl Conflicts {
    fn add(&mut self, graph: &mut Graph, id: NodeId, footprint: Footprint) {
        // What names no key, as SINTERCARD with a number of none, may run while an EXEC holds everything.
        if matches!(&footprint, Footprint::Keys(keys) if keys.is_empty()) {
            return;
        }
        if let Some(flood) = self.flood {
            graph.edge(flood, id);
        }
        match footprint {
            Footprint::Everything(Access::Write) => {
                self.since_flood.drain(..).for_each(|before| graph.edge(before, id));
                *self = Self { flood: Some(id), ..Self::default() };
                return;
            }
            Footprint::Everything(Access::Read) => self.tide.join(graph, id, true),
            Footprint::Mixed(_) => unreachable!("on one lane it is one or the other"),
            Footprint::Keys(keys) => {
                if keys.iter().any(|(_, access)| *access == Access::Write) {
                    self.tide.join(graph, id, false);
                }
                keys.into_iter().for_each(|(place, access)| self.keys.entry(place).or_default().add(graph, id, access));
            }
        }
        self.since_flood.push(id);
    }
}

impl Accesses {
    fn add(&mut self, graph: &mut Graph, id: NodeId, access: Access) {
        if let Some(writer) = self.writer {
            graph.edge(writer, id);
        }
        match access {
            Access::Read => self.readers.push(id),
            Access::Write => {
                self.readers.drain(..).for_each(|reader| graph.edge(reader, id));
                self.writer = Some(id);
            }
        }
    }
}

impl Tide {
    fn join(&mut self, graph: &mut Graph, id: NodeId, reads: bool) {
        if reads != self.is_reading {
            let point = graph.add(None);
            self.group.drain(..).for_each(|before| graph.edge(before, point));
            self.point = Some(point);
            self.is_reading = reads;
        }
        if let Some(point) = self.point {
            graph.edge(point, id);
        }
        self.group.push(id);
    }
}
