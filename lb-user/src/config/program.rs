//! Programs that the daemon runs, and whom they run as.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::Account;
use super::problem::Report;
use super::validate::absolute_path;

/// Whether it is a file that somebody may execute.
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// A program by its path; one that is not there is a warning, for it may be there later.
pub fn program(report: &mut Report<'_>, key: &str, path: &Spanned<String>) -> PathBuf {
    let program = absolute_path(report, key, path);
    if program.is_absolute() && !is_executable(&program) {
        report.warning(path.span(), format!("{} is no program that can be run here", program.display()));
    }
    program
}

/// A program and its arguments, as in `["/usr/local/bin/check", "-q"]`.
pub fn command(report: &mut Report<'_>, key: &str, words: &Spanned<Vec<String>>) -> (PathBuf, Vec<String>) {
    let Some((program, arguments)) = words.get_ref().split_first() else {
        let cure = "write a program and its arguments, as in [\"/usr/local/bin/check\", \"-q\"]";
        report.error(words.span(), format!("{key} is empty; {cure}"));
        return (PathBuf::new(), Vec::new());
    };
    let path = PathBuf::from(program);
    if words.get_ref().iter().any(|word| word.contains('\0')) {
        report.error(words.span(), format!("{key} has a zero byte in it"));
    } else if !path.is_absolute() {
        let problem = "must begin with an absolute path: no shell looks for the program";
        report.error(words.span(), format!("{key} {problem}"));
    } else if !is_executable(&path) {
        report.warning(words.span(), format!("{} is no program that can be run here", path.display()));
    }
    (path, arguments.to_vec())
}

/// A user of this machine by name.
pub fn account(report: &mut Report<'_>, key: &str, name: &Spanned<String>) -> Option<Account> {
    let problem = match nix::unistd::User::from_name(name.get_ref()) {
        Ok(Some(user)) => return Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        Ok(None) => format!("is \"{}\", and this machine has no such user", name.get_ref()),
        Err(error) => format!("cannot be looked up: {error}"),
    };
    report.error(name.span(), format!("{key} {problem}"));
    None
}
