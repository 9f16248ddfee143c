//! The file of a recorded load: text lines that tell when, on which connection and how long, and the raw requests between.
//! It can be looked at with `less`, and bytes of any kind survive.

use std::io::{self, BufRead, Write};

use crate::wire::Dialect;

const MAGIC: &str = "corelane-capture 1";
/// The longest request that is read back.
const REQUEST_BYTES_MAX: usize = 512 << 20;

/// One request as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Since the first one.
    pub(crate) at_ns: u64,
    pub(crate) connection: u32,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn write_head(to: &mut impl Write, dialect: Dialect) -> io::Result<()> {
    let name = serde_json::to_string(&dialect).map_err(io::Error::other)?;
    writeln!(to, "{MAGIC} {}", name.trim_matches('"'))
}

pub(crate) fn write(to: &mut impl Write, at_ns: u64, connection: u32, bytes: &[u8]) -> io::Result<()> {
    writeln!(to, "{at_ns} {connection} {}", bytes.len())?;
    to.write_all(bytes)?;
    to.write_all(b"\n")
}

/// The dialect and all requests, in the order of their times.
pub(crate) fn read(from: &mut impl BufRead) -> Result<(Dialect, Vec<Seen>), String> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(|error| error.to_string())?;
    let name = line.trim_end().strip_prefix(MAGIC).ok_or_else(|| format!("it does not begin with \"{MAGIC}\""))?;
    let dialect: Dialect = name.trim().parse()?;
    let mut all: Vec<Seen> = Vec::new();
    loop {
        line.clear();
        if from.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
            break;
        }
        let wrong = || format!("request {}: \"{}\" is not TIME CONNECTION BYTES", all.len() + 1, line.trim_end());
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (Some(Some(at_ns)), Some(Some(connection)), Some(Some(len))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(wrong());
        };
        let connection = u32::try_from(connection).map_err(|_| wrong())?;
        let len = usize::try_from(len).ok().filter(|len| *len <= REQUEST_BYTES_MAX).ok_or_else(wrong)?;
        let mut bytes = vec![0; len + 1];
        from.read_exact(&mut bytes).map_err(|_| format!("request {} is cut off", all.len() + 1))?;
        bytes.pop();
        all.push(Seen { at_ns, connection, bytes });
    }
    all.sort_by_key(|seen| seen.at_ns);
    Ok((dialect, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut file = Vec::new();
        write_head(&mut file, Dialect::Redis).unwrap();
        write(&mut file, 5, 1, b"*1\r\n$4\r\nPING\r\n").unwrap();
        write(&mut file, 3, 0, b"any\n\0bytes").unwrap();
        let (dialect, all) = read(&mut &file[..]).unwrap();
        assert_eq!((dialect, all.len(), all[0].at_ns), (Dialect::Redis, 2, 3));
        assert_eq!(all[0].bytes, b"any\n\0bytes");
    }

    #[test]
    fn a_spoilt_file_is_refused() {
        for wrong in [
            "",
            "other\n",
            "corelane-capture 1 redis\n1 2\n",
            "corelane-capture 1 redis\n1 2 5\nab",
            "corelane-capture 1 redis\n1 2 99999999999\n",
        ] {
            assert!(read(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
