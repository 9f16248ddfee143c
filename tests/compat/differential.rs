//! Random requests to redis-server 7.0 and to us, whose replies must be the same: `differential/`, a script of its own.

use crate::support::server::consecutive_free_ports;
use std::path::Path;
use std::process::Command;

/// redis-server, and us with one lane and with three.
const SERVERS: u16 = 3;

/// Some seconds; others with each commit. `CORELANE_DIFFERENTIAL_REQUESTS` asks for more.
#[test]
fn random_requests_are_answered_as_redis_answers_them() {
    let requests = std::env::var("CORELANE_DIFFERENTIAL_REQUESTS").unwrap_or_else(|_| "30000".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/differential");
    let output = Command::new("python3")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_corelane"))
        .args(["--port", &consecutive_free_ports(SERVERS).to_string()])
        .args(["--seed", &crate::sim::first_seed().to_string(), "--requests", &requests])
        .output()
        .expect("python3 is there");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
