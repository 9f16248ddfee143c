//! The users there are when the server starts: those of `user` lines, or those of the ACL file.

use super::catalog::Catalog;
use super::rule::has_spaces;
use super::user::{User, merged};
use super::users::DEFAULT_NAME;
use super::{default_user, file, terms};
use crate::config::{Config, UserLine};

const BOTH: &str = "users are defined in the configuration and aclfile names a file of users too: that leads to errors and \
                    security holes; keep either the 'user' lines or aclfile";

/// All users. `file`: the text of the ACL file, if there is one.
///
/// # Errors
/// What the operator has to change.
pub fn users(config: &Config, file: Option<&[u8]>, catalog: &Catalog) -> Result<Vec<User>, String> {
    if let Some(text) = file {
        if !config.users().is_empty() {
            return Err(BOTH.into());
        }
        return file::parse(&String::from_utf8_lossy(config.aclfile()), text, terms(catalog, config));
    }
    let mut users = vec![default_user(config, catalog)];
    for line in config.users() {
        let user = of_line(line, config, catalog).map_err(|why| format!("{}:{}: {why}", line.file, line.line))?;
        match users.iter_mut().find(|other| *other.name == *DEFAULT_NAME && other.name == user.name) {
            Some(default) => *default = user,
            None => users.push(user),
        }
    }
    Ok(users)
}

/// The user of a line of the configuration.
pub fn of_line(line: &UserLine, config: &Config, catalog: &Catalog) -> Result<User, String> {
    let shown = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    if has_spaces(&line.name) {
        return Err(format!("user '{}': usernames can't contain spaces or null characters", shown(&line.name)));
    }
    let wrong = |word: &[u8], why: &str| format!("Error in user declaration '{}': {why}", shown(word));
    let words = merged(line.rules.iter().map(Vec::as_slice))
        .map_err(|first| wrong(&first, "Unmatched parenthesis in selector definition"))?;
    let terms = terms(catalog, config);
    let mut user = User::new(&line.name, terms);
    user.apply_all(&words, terms).map_err(|bad| wrong(&bad.word, bad.why.text()))?;
    Ok(user)
}
