//! Commands that want a file before they may begin: ACL LOAD. It is read beside the lanes while their connection waits, and nobody else; its
//! content then goes along as one more word of the request, to all lanes the same.
//!
//! ```text
//!  ACL LOAD ----------> [reading] --> ACL LOAD text            over all lanes, as if it had come like that
//!  MULTI ACL LOAD EXEC  [reading] --> EXEC, with the text      what is queued before it has not run yet: the file is as it was when EXEC came
//! ```
//!
//! If it cannot be read, why stands in a fourth word.

use std::sync::mpsc::TryRecvError;

use super::dispatch::Flow;
use super::pending::put_tail;
use super::route::{Route, Spread};
use super::{ConnId, Shard};
use crate::admin::file;
use crate::base::hash::KeyHash;
use crate::command::clients::ReplyMode;
use crate::command::sliced::{Fetched, Job};
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Ctx, Run, Verb};
use crate::store::keyspace::Graveyard;
use crate::types::Progress;
use crate::wire::fault::Fault;
use crate::wire::output::Output;
use crate::wire::reply::Reply;
use crate::wire::request::{Args, Request};

/// A file on its way.
#[derive(Debug)]
struct Reading {
    content: file::Content,
    /// The command that wants it, which may be queued.
    command: CommandId,
    is_queued: bool,
    fetched: Option<Fetched>,
}

impl Job for Reading {
    fn step(&mut self, _: &mut Ctx<'_>, _: &mut Reply<'_>) -> Result<Progress, Fault> {
        let content = match self.content.try_recv() {
            Err(TryRecvError::Empty) => return Ok(Progress::More),
            Ok(content) => content,
            Err(TryRecvError::Disconnected) => Err("nobody reads it".into()),
        };
        self.fetched = Some(Fetched { content, command: self.command, is_queued: self.is_queued });
        Ok(Progress::Done)
    }

    fn fetched(&mut self) -> Option<Fetched> {
        self.fetched.take()
    }

    fn abandon(self: Box<Self>, _: &mut Graveyard) {}
}

impl Shard {
    /// Whether a request, or one of those that its EXEC runs, wants a file: which command that is, and the file.
    pub(super) fn wanted_file(&self, caller: &Caller, found: Found, args: Args<'_>) -> Option<(CommandId, String)> {
        let command = match found.row.run {
            Run::Verb(Verb::Exec) => self.clients.get(caller.conn)?.multi.as_ref()?.reads?,
            _ if found.row.reads.is_some() && args.len() == usize::from(found.row.arity.unsigned_abs()) => found.id,
            _ => return None,
        };
        let path = (self.table.row(command).reads?)(&self.config);
        (!path.is_empty()).then(|| (command, String::from_utf8_lossy(path).into_owned()))
    }

    /// Reads it first.
    pub(super) fn read_first(
        &mut self,
        caller: &mut Caller,
        found: Found,
        args: Args<'_>,
        (command, path): (CommandId, String),
        out: &mut Output,
    ) -> Flow {
        let is_queued = command != found.id;
        self.run_in_session(caller, Some(found), args, out, |shard, _, _| {
            let content = (shard.read_file)(&path);
            shard.begun = Some(Box::new(Reading { content, command, is_queued, fetched: None }));
        })
    }

    /// It has been read: the request runs.
    pub(super) fn run_fetched(&mut self, conn: ConnId, fetched: Fetched, is_silent: bool) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        let (row, mut request) = (self.table.row(fetched.command), Request::default());
        row.name.split('|').for_each(|word| request.push(word.as_bytes()));
        match &fetched.content {
            Ok(text) => request.push(text),
            Err(why) => ["", why].into_iter().for_each(|word| request.push(word.as_bytes())),
        }
        if is_silent && client.reply_mode == ReplyMode::On {
            client.reply_mode = ReplyMode::SkipNext;
        }
        if fetched.is_queued
            && let Some(multi) = client.multi.as_mut()
        {
            multi.reads = None;
            multi.queue.put(fetched.command, &request);
            request = [&b"EXEC"[..]].into_iter().collect();
        }
        let mut caller = Caller::of(self.me, conn, client);
        let mut output = std::mem::take(client.tail());
        let args = request.args();
        if fetched.is_queued {
            let exec = self.table.find(b"exec");
            self.run_routed(&mut caller, exec, args, KeyHash::default(), &mut output);
        } else {
            let found = self.table.found(fetched.command);
            match self.route(&caller, found.row, args, KeyHash::default()) {
                Route::Several => self.begin_several(&caller, found, args, &Spread::default(), is_silent, &mut output),
                _ => {
                    self.run_admitted(&mut caller, found, args, KeyHash::default(), &mut output);
                }
            }
            self.passed(&mut caller);
        }
        if let Some(client) = self.clients.get_mut(conn) {
            put_tail(client, output);
        }
    }
}
