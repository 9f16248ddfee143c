//! What a client may be told went wrong, and the exact words of it, as Redis 7.2 says them. Handlers return a [`Fault`];
//! nobody else writes error text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// An error for the client. Small, so that `Result<(), Fault>` costs nothing on the way of a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    WrongType,
    NotInteger,
    NotFloat,
    OutOfRange,
    /// An index, count or timeout that must not be negative; the argument's name.
    NotPositive(&'static str),
    Overflow,
    NanOrInfinity,
    NoSuchKey,
    SameObject,
    OffsetOutOfRange,
    StringTooLong,
    InvalidDbIndex,
    DbIndexOutOfRange,
    InvalidCursor,
    InvalidExpire(&'static str),
    NxAndXx,
    WrongPassword,
    NoAuthRequired,
    NoProto,
    NoAuth,
    OutOfMemory,
    NoScript,
    CrossSlot,
    /// The command's full name.
    Arity(&'static str),
    /// The name as it came and the first arguments.
    UnknownCommand(Box<UnknownCommand>),
    /// The subcommand as it came and the name of its container.
    UnknownSubcommand(Box<(Vec<u8>, &'static str)>),
    /// A user may not.
    Denied(Box<Denied>),
    /// A fixed text with its code, such as `ERR ...`.
    Fixed(&'static str),
    /// A composed text with its code.
    Text(Box<str>),
}

/// What a user may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub user: Box<[u8]>,
    pub lacking: Lacking,
}

/// What it would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// The command's full name.
    Command(&'static str),
    Key(Box<[u8]>),
    Channel(Box<[u8]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCommand {
    pub name: Vec<u8>,
    pub args: Vec<Vec<u8>>,
}

const _: () = assert!(size_of::<Fault>() <= 24);

impl Fault {
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A subcommand that there is, with words that it does not take.
    pub fn subcommand(word: &[u8], container: &str) -> Self {
        let word = String::from_utf8_lossy(word).replace(['\r', '\n'], " ");
        Self::text(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."))
    }

    /// The error line without its leading `-` and its end of line. No byte of it is `\r` or `\n`.
    pub fn line(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Syntax => "ERR syntax error",
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::OutOfRange => "ERR value is out of range",
            Self::NotPositive(what) => {
                return Cow::Owned(format!("ERR {what} is out of range, must be positive"));
            }
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Self::NoSuchKey => "ERR no such key",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::OffsetOutOfRange => "ERR offset is out of range",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::InvalidDbIndex => "ERR invalid DB index",
            Self::DbIndexOutOfRange => "ERR DB index is out of range",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::InvalidExpire(command) => {
                return Cow::Owned(format!("ERR invalid expire time in '{command}' command"));
            }
            Self::NxAndXx => "ERR NX and XX, GT or LT options at the same time are not compatible",
            Self::WrongPassword => "WRONGPASS invalid username-password pair or user is disabled.",
            Self::NoAuthRequired => {
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?"
            }
            Self::NoProto => "NOPROTO unsupported protocol version",
            Self::NoAuth => "NOAUTH Authentication required.",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
            Self::NoScript => "NOSCRIPT No matching script. Please use EVAL.",
            Self::Arity(name) => {
                return Cow::Owned(format!("ERR wrong number of arguments for '{name}' command"));
            }
            Self::UnknownCommand(unknown) => return Cow::Owned(unknown.line()),
            Self::UnknownSubcommand(what) => {
                let (name, container) = &**what;
                let (name, container) = (shown(name, 128), container.to_ascii_uppercase());
                return Cow::Owned(format!("ERR unknown subcommand '{name}'. Try {container} HELP."));
            }
            Self::Denied(denied) => return Cow::Owned(denied.line()),
            Self::Fixed(text) => text,
            Self::Text(text) => return Cow::Borrowed(text),
        })
    }

    /// The error's code, its first word, by which INFO errorstats counts.
    pub fn code(&self) -> String {
        let line = self.line();
        line.split(' ').next().unwrap_or_default().to_owned()
    }
}

impl Denied {
    /// Which key or channel it was is not told.
    fn line(&self) -> String {
        match self.lacking {
            Lacking::Command(_) => format!("NOPERM {}", self.in_full()),
            Lacking::Key(_) => "NOPERM No permissions to access a key".into(),
            Lacking::Channel(_) => "NOPERM No permissions to access a channel".into(),
        }
    }

    /// For whoever looks after users.
    pub fn in_full(&self) -> String {
        let user = shown(&self.user, usize::MAX);
        let (verb, what, kind) = match &self.lacking {
            Lacking::Command(name) => ("run", (*name).to_owned(), "command"),
            Lacking::Key(key) => ("access", shown(key, usize::MAX), "key"),
            Lacking::Channel(channel) => ("access", shown(channel, usize::MAX), "channel"),
        };
        format!("User {user} has no permissions to {verb} the '{what}' {kind}")
    }
}

impl UnknownCommand {
    /// Redis names the command and its first arguments up to 128 characters in all.
    fn line(&self) -> String {
        let mut text = format!("ERR unknown command '{}', with args beginning with: ", shown(&self.name, 128));
        let start = text.len();
        for arg in &self.args {
            let used = text.len() - start;
            if used >= 128 {
                break;
            }
            write!(text, "'{}' ", shown(arg, 128 - used)).expect("writing to a String does not fail");
        }
        text
    }
}

/// Bytes of a client as they may stand inside an error line: bounded, and without line ends.
pub fn shown(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(max)]);
    text.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_line_can_hold_a_line_end() {
        let unknown = UnknownCommand { name: b"a\r\nb".to_vec(), args: vec![b"x\n".to_vec(), vec![b'y'; 500]] };
        let line = Fault::UnknownCommand(Box::new(unknown)).line().into_owned();
        assert!(!line.contains(['\r', '\n']));
        assert!(line.starts_with("ERR unknown command 'a  b', with args beginning with: 'x ' 'yyy"), "{line}");
        assert!(line.len() < 400);
    }

    #[test]
    fn the_code_is_the_first_word() {
        assert_eq!(Fault::WrongType.code(), "WRONGTYPE");
        assert_eq!(Fault::Syntax.code(), "ERR");
    }
}
