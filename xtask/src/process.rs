//! Running other programs. What runs is said on stderr; a failure names the command line and the exit status.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where administrators' commands are, even if `PATH` lacks it.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// How often a program with a time limit is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Says on stderr what is done now.
pub fn progress(what: impl std::fmt::Display) {
    eprintln!("xtask: {what}");
}

/// Runs a command whose result matters to the user: its stdout is ours.
///
/// # Errors
/// It cannot be started, or ends with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| cannot_start(command))?;
    check(command, status)
}

/// Runs a command that prepares something: its stdout goes to our stderr.
///
/// # Errors
/// As [`run`].
pub fn prepare(command: &mut Command) -> Result<()> {
    run(command.stdout(io::stderr()))
}

/// [`prepare`], but the command is killed when `limit` has passed.
///
/// # Errors
/// As [`run`], or the time is up.
pub fn prepare_within(limit: Duration, command: &mut Command) -> Result<()> {
    announce(command);
    let deadline = Instant::now() + limit;
    let mut child = command.stdout(io::stderr()).spawn().with_context(|| cannot_start(command))?;
    loop {
        if let Some(status) = child.try_wait()? {
            return check(command, status);
        }
        if Instant::now() >= deadline {
            child.kill().with_context(|| format!("cannot end `{}`", line(command)))?;
            child.wait()?;
            bail!("`{}` was not done after {} s", line(command), limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// What a command writes to stdout, without the white space around it. Says nothing; stdin is empty.
///
/// # Errors
/// As [`run`], with what it wrote to stderr; or the output is no UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    check(command, output.status).with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
    let text = String::from_utf8(output.stdout).with_context(|| format!("output of `{}`", line(command)))?;
    Ok(text.trim().to_owned())
}

/// Becomes another program, so that its exit status and the signals for it need nobody between. Returns only on failure.
pub fn become_program(command: &mut Command) -> Result<()> {
    announce(command);
    Err(command.exec()).with_context(|| cannot_start(command))
}

/// Where a command is, looking through `PATH` and the `sbin` directories.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(SBIN.iter().map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| is_executable(file))
}

/// Whether we may do all that root may.
///
/// # Errors
/// No `/proc`.
pub fn is_root() -> Result<bool> {
    let own = fs::metadata("/proc/self").context("cannot read our user id from /proc/self")?;
    Ok(own.uid() == 0)
}

/// Fails, and says how to go on, unless we are root.
///
/// # Errors
/// We are not root.
pub fn require_root(what: &str) -> Result<()> {
    if is_root()? {
        return Ok(());
    }
    bail!(
        "{what} needs root (it loads kernel programs and makes network namespaces), and this is not root.\n\
         Run it again as root, for example: sudo -E env \"PATH=$PATH\" cargo xtask ..."
    )
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.mode() & 0o111 != 0)
}

fn announce(command: &Command) {
    eprintln!("   $ {}", line(command));
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed: {status}", line(command))
}

/// The command as one would type it, without its environment.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "\"'\\$*?".contains(c)) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    word.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_line_and_the_status() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'exit 3'` failed: exit status: 3");
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended() {
        let begun = Instant::now();
        let error = prepare_within(Duration::from_millis(200), Command::new("sleep").arg("60")).unwrap_err();
        assert!(error.to_string().contains("was not done"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_is_trimmed() {
        assert_eq!(output(Command::new("echo").arg(" a b ")).unwrap(), "a b");
    }

    #[test]
    fn an_absent_program_is_not_found() {
        assert_eq!(find("no-such-program-anywhere"), None);
        assert!(find("sh").is_some());
    }
}
