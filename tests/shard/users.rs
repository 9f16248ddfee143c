//! Rights in pipelines: what a request changes counts from the next one on, whatever came in the same receive.

use super::{Driver, request};
use corelane::shard::Setup;

fn pipeline(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(&line.split(' ').collect::<Vec<_>>())).collect()
}

fn answers(driver: &mut Driver, lines: &[&str]) -> String {
    let conn = driver.connect();
    driver.shard.feed(conn, &pipeline(lines));
    (0..5).for_each(|_| driver.turn());
    String::from_utf8(driver.replies(conn)).expect("text")
}

const NO_KEY: &str = "-NOPERM No permissions to access a key\r\n";

#[test]
fn a_login_counts_from_the_next_request_on() {
    let mut driver = Driver::new();
    assert_eq!(answers(&mut driver, &["ACL SETUSER u on nopass ~a +get", "SET a 1", "SET b 1"]), "+OK\r\n".repeat(3));
    let said = answers(&mut driver, &["GET b", "AUTH u x", "GET b", "GET a", "AUTH default x", "GET b"]);
    assert_eq!(said, format!("$1\r\n1\r\n+OK\r\n{NO_KEY}$1\r\n1\r\n+OK\r\n$1\r\n1\r\n"));
    let said = answers(&mut driver, &["AUTH u x", "RESET", "GET b"]);
    assert_eq!(said, "+OK\r\n+RESET\r\n$1\r\n1\r\n");
    let said = answers(&mut driver, &["HELLO 2 AUTH u x", "GET b"]);
    assert!(said.ends_with(NO_KEY), "{said}");
}

#[test]
fn a_right_that_is_taken_in_a_pipeline_is_gone_behind_it() {
    let mut driver = Driver::new();
    let said = answers(
        &mut driver,
        &["SET b 1", "ACL SETUSER default resetkeys ~a", "GET b", "ACL SETUSER default ~*", "GET b"],
    );
    assert_eq!(said, format!("+OK\r\n+OK\r\n{NO_KEY}+OK\r\n$1\r\n1\r\n"));
    let said = answers(&mut driver, &["ACL SETUSER default off -get", "GET b", "PING"]);
    assert_eq!(said, "+OK\r\n-NOPERM User default has no permissions to run the 'get' command\r\n+PONG\r\n");
    assert_eq!(answers(&mut driver, &["PING"]), "-NOAUTH Authentication required.\r\n");
}

#[test]
fn whoever_removes_itself_hears_of_it_and_no_more() {
    let mut driver = Driver::new();
    assert_eq!(answers(&mut driver, &["ACL SETUSER u on nopass +@all ~*"]), "+OK\r\n");
    assert_eq!(answers(&mut driver, &["AUTH u x", "ACL DELUSER u", "PING"]), "+OK\r\n:1\r\n");
}

#[test]
fn users_that_a_shard_is_made_with_are_there() {
    use corelane::admin::acl::{User, terms, users_at_start};
    use corelane::command::{Table, acl::catalog};
    let catalog = catalog(&Table::new());
    let mut config = corelane::config::Config::default();
    config
        .apply_file("x.conf", b"user u on >p ~k +get\nuser default on -@all +ping", &mut |_| Ok(Vec::new()))
        .expect("a legal file");
    let users = users_at_start(&config, None, &catalog).expect("legal users");
    let mut driver = Driver::made(Setup { config, users, ..Setup::plain(0, 1) });
    let no_password = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(answers(&mut driver, &["PING"]), "-NOAUTH Authentication required.\r\n");
    assert_eq!(answers(&mut driver, &["AUTH default x"]), no_password);
    assert_eq!(answers(&mut driver, &["AUTH u p", "GET k", "GET l"]), format!("+OK\r\n$-1\r\n{NO_KEY}"));
    let config = corelane::config::Config::default();
    assert!(!User::new(b"x", terms(&catalog, &config)).is_on());
}

/// Users are many, and connections more: that one changes looks at each connection once, briefly.
#[test]
fn a_change_of_users_concerns_those_of_its_connections_alone() {
    let mut driver = Driver::new();
    let admin = driver.connect();
    for name in ["a", "b"] {
        assert_eq!(driver.call(admin, &["ACL", "SETUSER", name, "on", "nopass", "+@all", "~*"]), b"+OK\r\n");
    }
    let conns: Vec<_> = (0..300).map(|_| driver.connect()).collect();
    for (at, conn) in conns.iter().enumerate() {
        let name = if at % 3 == 0 { "a" } else { "b" };
        assert_eq!(driver.call(*conn, &["AUTH", name, "x"]), b"+OK\r\n");
    }
    assert_eq!(driver.call(admin, &["ACL", "SETUSER", "a", "resetkeys"]), b"+OK\r\n");
    for (at, conn) in conns.iter().enumerate() {
        let said = driver.call(*conn, &["GET", "k"]);
        assert_eq!(said == NO_KEY.as_bytes(), at % 3 == 0, "{at}");
    }
}

#[test]
fn a_password_that_is_made_up_has_as_many_digits_as_asked_for() {
    let mut driver = Driver::new();
    for (bits, digits) in [(1, 1), (4, 1), (5, 2), (256, 64), (257, 65), (4096, 1024)] {
        let said = answers(&mut driver, &[&format!("ACL GENPASS {bits}")]);
        let password = said.trim_end().rsplit_once('\n').expect("a bulk").1;
        assert_eq!(password.len(), digits, "{said}");
        assert!(password.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
    }
}
