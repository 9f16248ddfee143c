//! Flags to a configuration, the configuration to running lanes; nothing else.

use corelane::admin::info::Identity;
use corelane::config::Config;
use corelane::runtime::{Poll, Settings, boot};
use corelane::shard::{Setup, Shard};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arg = |n: usize, default: usize| std::env::args().nth(n).map_or(default, |a| a.parse().expect("a number"));
    let settings = Settings {
        lanes: 1,
        cpus: Vec::new(),
        bind: vec![[127, 0, 0, 1].into()],
        bind_if_there: Vec::new(),
        port: u16::try_from(arg(1, 7711)).expect("a port"),
        tcp_backlog: 511,
        tcp_keepalive_secs: 300,
        connections_max: 10_000,
        poll: match arg(2, 999) {
            999 => Poll::Adaptive,
            us => Poll::Fixed(us as u32),
        },
        pidfile: None,
    };
    let result = boot(settings, |id| {
        Shard::new(Setup {
            identity: Identity { lane: id.0, lanes: 1, ..Identity::default() },
            config: Config::default(),
            seed: [1, 2],
            stopwatch: || 0,
            process: Default::default,
        })
    });
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
