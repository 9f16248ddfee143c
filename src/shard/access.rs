//! What the user of a connection may do, asked at the lane that has the connection: when a request comes in (`admit.rs`), when EXEC runs it,
//! when one that waited is to be served. Rights may have changed in between.
//!
//! Connections of a user who may everything are marked, and never come here (`Clearance::Full`).

use super::Shard;
use crate::admin::acl::{Clearance, Context, Denial, Lack, Reason, User};
use crate::command::acl::rights;
use crate::command::clients::Client;
use crate::command::multi::Queue;
use crate::command::roster::{self, Seen};
use crate::command::table::{CommandId, Found};
use crate::command::{Caller, Flags};
use crate::wire::fault::{Denied, Fault, Lacking};
use crate::wire::request::Args;

impl Shard {
    /// Why a request of a connection may not run that is not cleared for everything.
    pub(super) fn refusal_of_user(&self, caller: &Caller, found: Found, args: Args<'_>) -> Option<Fault> {
        // Requests of other lanes' connections were asked about there.
        let client = self.client_of(caller)?;
        match client.clearance {
            Clearance::Full => None,
            Clearance::Nobody => (!found.row.flags.has(Flags::NO_AUTH)).then_some(Fault::NoAuth),
            Clearance::Limited => rights::refusal(self.acl.users.get(client.user), found, args),
        }
    }

    /// Why each of the queued commands may not run, of those that may not; nothing for whoever may everything. What commands of the queue
    /// itself change counts from the next request on.
    pub(super) fn refusals_of_queue(&mut self, caller: &Caller, queue: &Queue) -> Vec<Option<Fault>> {
        if self.client_of(caller).is_none_or(|client| client.clearance == Clearance::Full) {
            return Vec::new();
        }
        let each = queue.iter().map(|queued| (self.table.found(queued.command), queued.request.args()));
        each.map(|(found, args)| self.refusal_at_exec(caller, found, args)).collect()
    }

    /// Why a queued command may not run any more.
    pub(super) fn refusal_at_exec(&self, caller: &Caller, found: Found, args: Args<'_>) -> Option<Fault> {
        let (user, lack) = self.lack(caller, found, args)?;
        Some(rights::denied(user, found, args, lack))
    }

    /// The words for it.
    pub(super) fn refuse_at_exec(&mut self, caller: &Caller, fault: &Fault) -> Fault {
        let Fault::Denied(denied) = fault else { return fault.clone() };
        self.note_denied(caller, denied, Context::Multi);
        let reason = match denied.lacking {
            Lacking::Command(_) => "no permission to execute the command or subcommand",
            Lacking::Key(_) => "no permission to touch the specified keys",
            Lacking::Channel(_) => "no permission to access one of the channels used as arguments to the command",
        };
        Fault::text(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no \
             longer allowed for the following reason: {reason}"
        ))
    }

    /// What the user lacks for a request that has waited.
    pub(super) fn lack_of_waiter(&self, caller: &Caller, command: CommandId, args: Args<'_>) -> Option<Lack> {
        self.lack(caller, self.table.found(command), args).map(|(_, lack)| lack)
    }

    fn lack(&self, caller: &Caller, found: Found, args: Args<'_>) -> Option<(&User, Lack)> {
        let client = self.client_of(caller).filter(|client| client.clearance != Clearance::Full)?;
        let user = self.acl.users.get(client.user);
        rights::check(user, found, args).err().map(|lack| (user, lack))
    }

    /// The fault for it.
    pub(super) fn denied_waiter(&mut self, caller: &Caller, command: CommandId, args: Args<'_>, lack: Lack) -> Fault {
        let Some(user) = self.client_of(caller).map(|client| client.user) else { return Fault::NoAuth };
        let fault = rights::denied(self.acl.users.get(user), self.table.found(command), args, lack);
        if let Fault::Denied(denied) = &fault {
            self.note_denied(caller, denied, Context::Toplevel);
        }
        fault
    }

    /// Notes in ACL LOG and INFO that something was denied.
    #[cold]
    pub(super) fn note_denied(&mut self, caller: &Caller, denied: &Denied, context: Context) {
        let (reason, object): (_, &[u8]) = match &denied.lacking {
            Lacking::Command(name) => (Reason::Command, name.as_bytes()),
            Lacking::Key(key) => (Reason::Key, key),
            Lacking::Channel(channel) => (Reason::Channel, channel),
        };
        let now = self.now.millis();
        let Some(client) = self.client_of(caller) else { return };
        let seen = Seen { now, table: &self.table, clients: &self.clients, users: &self.acl.users };
        let client = roster::describe(client, seen).trim_end().as_bytes().into();
        let denial = Denial { reason, context, object: object.into(), user: denied.user.clone(), client };
        let max = usize::try_from(self.config.acl_log_len_max()).unwrap_or(usize::MAX);
        self.acl.log.note(denial, self.now, max, (self.me.0, self.lanes.count()));
        self.stats.denied[reason as usize] += 1;
    }

    /// Where it was asked for.
    pub(super) fn context_of(&self, caller: &Caller) -> Context {
        let is_queueing = self.client_of(caller).is_some_and(|client| client.multi.is_some());
        if is_queueing { Context::Multi } else { Context::Toplevel }
    }

    /// The connection a request is of, if it is this lane's and still there.
    pub(super) fn client_of(&self, caller: &Caller) -> Option<&Client> {
        if caller.home != self.me {
            return None;
        }
        self.clients.get(caller.conn).filter(|client| client.id == caller.client)
    }
}
