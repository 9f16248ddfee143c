//! What is left of a panic: a report, and then no process. A lane that is gone takes its keys with it: better no server than one that
//! answers for half of them, and a supervisor that sees it end by SIGABRT starts another.

use std::backtrace::Backtrace;
use std::io::Write;
use std::panic::PanicHookInfo;

/// From here on a panic of any thread ends the process, after it was written to standard error, which may be the log file.
pub(super) fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let text = report(thread.name().unwrap_or("unnamed"), panic, &Backtrace::force_capture());
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        std::process::abort();
    }));
}

fn report(thread: &str, panic: &PanicHookInfo<'_>, backtrace: &Backtrace) -> String {
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = panic.payload_as_str().unwrap_or("no message");
    format!(
        "=== CORELANE BUG REPORT START: please send all of it to {}/issues ===\n\
         corelane {} panicked in thread {thread} at {place}: {message}\n{backtrace}\
         === CORELANE BUG REPORT END: the process aborts; let a supervisor start it again ===\n",
        env!("CARGO_PKG_REPOSITORY"),
        env!("CARGO_PKG_VERSION"),
    )
}
