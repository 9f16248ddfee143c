//! What a client knows of its own connection: the state that its next request will be run under.
//!
//! Nothing here looks at data. Only EXEC's outcome decides something (whether a SELECT inside it counts): until that is known, a
//! client with such an EXEC under way sends nothing further ([`Session::must_wait`]).

use super::frames;

/// Databases, the server's default.
pub(crate) const DATABASES: u8 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    SkipNext,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) db: u8,
    pub(crate) resp3: bool,
    replies: Replies,
    /// Between MULTI and its end; with the database that a SELECT in there would leave.
    queue: Option<Option<u8>>,
    /// What an EXEC under way will make of the database, if it runs.
    db_after_exec: Option<u8>,
    /// EXECs whose replies have not come, that one being the last.
    execs: usize,
    /// QUIT was sent.
    pub(crate) has_quit: bool,
}

/// How the session has it with one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) db: u8,
    pub(crate) resp3: bool,
    /// It becomes part of a MULTI.
    pub(crate) is_queued: bool,
    /// It is said inside a MULTI where it has no place.
    pub(crate) is_misplaced: bool,
    pub(crate) wants_reply: bool,
}

impl Session {
    pub(crate) const fn is_queueing(&self) -> bool {
        self.queue.is_some()
    }

    pub(crate) const fn must_wait(&self) -> bool {
        self.db_after_exec.is_some()
    }

    pub(crate) fn wants_no_replies(&self) -> bool {
        self.replies == Replies::Off
    }

    /// The next request, by the name of its row.
    pub(crate) fn send(&mut self, name: &str, words: &[Vec<u8>]) -> Standing {
        let ends_queue = matches!(name, "exec" | "discard" | "reset" | "quit");
        let is_queued = self.queue.is_some() && !ends_queue && !matches!(name, "multi" | "watch");
        let is_misplaced = self.queue.is_some() && matches!(name, "multi" | "watch");
        let before = std::mem::take(&mut self.replies);
        let standing =
            Standing { db: self.db, resp3: self.resp3, is_queued, is_misplaced, wants_reply: before == Replies::On };
        self.replies = if before == Replies::Off { Replies::Off } else { Replies::On };
        if is_queued || is_misplaced {
            if let (Some(queue), "select", Some(db)) = (&mut self.queue, name, database(words)) {
                *queue = Some(db);
            }
            return standing;
        }
        match name {
            "select" => self.db = database(words).unwrap_or(self.db),
            "hello" if words.len() > 1 => self.resp3 = words[1] == b"3",
            "client|reply" => return self.switch_replies(words, standing),
            "multi" if self.queue.is_none() => self.queue = Some(None),
            "exec" => {
                self.db_after_exec = self.queue.take().flatten();
                self.execs += usize::from(standing.wants_reply);
            }
            "discard" => self.queue = None,
            // RESET ends CLIENT REPLY OFF and is answered, but a SKIP before it holds.
            "reset" => {
                // Replies to EXECs before it may be under way still.
                *self = Self { execs: self.execs, ..Self::default() };
                return Standing { wants_reply: before != Replies::SkipNext, ..standing };
            }
            "quit" => self.has_quit = true,
            _ => {}
        }
        standing
    }

    /// A reply has come, perhaps the one that decides the database.
    pub(crate) fn answered(&mut self, name: &str, reply: &[u8]) {
        if name != "exec" {
            return;
        }
        self.execs = self.execs.saturating_sub(1);
        if self.execs == 0
            && let Some(db) = self.db_after_exec.take()
            && !frames::is_error(reply)
            && !frames::is_null(reply)
        {
            self.db = db;
        }
    }

    fn switch_replies(&mut self, words: &[Vec<u8>], standing: Standing) -> Standing {
        let mode = words.get(2).map(Vec::as_slice).unwrap_or_default();
        let wants_reply = match mode.to_ascii_uppercase().as_slice() {
            b"ON" => {
                self.replies = Replies::On;
                true
            }
            b"OFF" => {
                self.replies = Replies::Off;
                false
            }
            _ => {
                self.replies = if self.replies == Replies::Off { Replies::Off } else { Replies::SkipNext };
                false
            }
        };
        Standing { wants_reply, ..standing }
    }
}

/// The database a SELECT names, if there is one.
fn database(words: &[Vec<u8>]) -> Option<u8> {
    let [_, index] = words else { return None };
    let index = std::str::from_utf8(index).ok()?.parse().ok()?;
    (index < DATABASES).then_some(index)
}
