//! Flags that start from a definition and override it.

use super::definition::{Command, Workload};
use super::keys::Distribution;

#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// A TOML file of bench/definitions to start from.
    #[arg(long)]
    pub(crate) definition: Option<std::path::PathBuf>,
    #[arg(long)]
    pub(crate) connections: Option<u32>,
    #[arg(long)]
    pub(crate) keys: Option<u32>,
    #[arg(long)]
    pub(crate) key_bytes: Option<usize>,
    #[arg(long)]
    pub(crate) value_bytes: Option<usize>,
    /// Part of the requests that are SET; the rest are GET.
    #[arg(long)]
    pub(crate) set_ratio: Option<f64>,
    #[arg(long, value_enum)]
    pub(crate) distribution: Option<Distribution>,
    /// A raw command instead of GET and SET, as "WEIGHT REPLY WORD WORD...": "1 any LRANGE {key} 0 9". May be repeated.
    #[arg(long, value_parser = command_of)]
    pub(crate) command: Vec<Command>,
    /// Close a connection and make a new one after so many requests.
    #[arg(long)]
    pub(crate) requests_per_connection: Option<u32>,
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
}

impl Overrides {
    pub(crate) fn workload(&self) -> Result<Workload, String> {
        let mut workload = self.definition.as_deref().map_or_else(|| Ok(Workload::default()), Workload::read)?;
        set(&mut workload.connections, self.connections);
        set(&mut workload.keys, self.keys);
        set(&mut workload.key_bytes, self.key_bytes);
        set(&mut workload.value_bytes, self.value_bytes);
        set(&mut workload.set_ratio, self.set_ratio);
        set(&mut workload.distribution, self.distribution);
        set(&mut workload.seconds, self.seconds);
        if self.value_bytes.is_some() {
            workload.value.clear();
        }
        if !self.command.is_empty() || self.set_ratio.is_some() {
            workload.command.clone_from(&self.command);
        }
        workload.requests_per_connection = self.requests_per_connection.or(workload.requests_per_connection);
        workload.checked()
    }
}

fn set<T: Clone>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

fn command_of(text: &str) -> Result<Command, String> {
    let mut words = shlex::split(text).ok_or("unbalanced quotes")?.into_iter();
    let weight = words.next().and_then(|word| word.parse().ok()).ok_or("the first word is the weight, a number")?;
    let reply = words.next().ok_or("the second word is the expected reply")?;
    Ok(Command { weight, reply, request: words.collect(), then: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_run_is_refused() {
        let short = Overrides { keys: Some(1_000_001), key_bytes: Some(6), ..Overrides::default() };
        assert_eq!(short.workload().unwrap_err(), "1000001 keys need key_bytes of at least 7");
        let ratio = Overrides { set_ratio: Some(1.5), ..Overrides::default() };
        assert!(ratio.workload().is_err());
    }

    #[test]
    fn a_raw_command_takes_the_place_of_get_and_set() {
        let command = command_of("1 any LRANGE list:{key}:tail 0 9").unwrap();
        let overrides = Overrides { command: vec![command.clone()], ..Overrides::default() };
        assert_eq!(overrides.workload().unwrap().commands(), [command]);
        assert!(command_of("any LRANGE").is_err() && command_of("1").is_err());
    }

    #[test]
    fn every_definition_can_be_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("definitions");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let workload =
                Workload::read(&path).unwrap().checked().unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            crate::workload::mix::Mix::new(&workload, crate::wire::Dialect::Redis).unwrap();
            crate::workload::mix::Mix::filling(&workload, crate::wire::Dialect::Redis).unwrap();
            assert_eq!(
                path.file_stem().unwrap().to_str(),
                Some(workload.name.as_str()),
                "a file has its workload's name"
            );
            count += 1;
        }
        assert!(count > 0);
    }
}
