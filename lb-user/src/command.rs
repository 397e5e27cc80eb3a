//! Running somebody else's program: a health check's script, a hook.
//!
//! No shell looks at the arguments. The program gets an environment of ours alone, `/` as its directory, no input, and a
//! process group of its own, which is killed when its time is over or nobody waits for it any more.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{fmt, io};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{self, Child};

use crate::config::Account;

/// A program finds others here, whatever the daemon was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many bytes of its output are kept; the rest is thrown away.
const OUTPUT: usize = 4096;
/// How many characters of that are shown.
const SHOWN: usize = 200;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// An absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whom it runs as, with that user's primary group and no other; `None`: as the daemon.
    pub user: Option<Account>,
    /// All of its environment but `PATH`: names and values.
    pub environment: Vec<(String, String)>,
}

/// What became of a program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of what it has printed, on stdout and stderr together; at most 4096 bytes.
    pub output: Vec<u8>,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(io::Error),
    /// It was killed because its time was over.
    #[error("has not ended within {0:?}, and was killed")]
    TimedOut(Duration),
    /// The kernel does not say how it ended.
    #[error("cannot be waited for: {0}")]
    Wait(io::Error),
}

impl Command {
    /// Runs it until it ends, not until its output does: what it leaves in the background is not waited for. When `limit`
    /// is over, or the future is dropped, it is killed with all that it has started.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn run(&self, limit: Duration) -> Result<Outcome, CommandError> {
        let (mut child, mut output) = self.start().map_err(CommandError::Start)?;
        // Dropped before the child is, so the group's number is still the child's when it is killed.
        let mut group = Group::of(&child);
        let ended = tokio::time::timeout(limit, wait(&mut child, &mut output)).await;
        let (status, output) = ended.map_err(|_| CommandError::TimedOut(limit))?;
        group.0 = None;
        Ok(Outcome { status: status.map_err(CommandError::Wait)?, output })
    }

    fn start(&self) -> io::Result<(Child, Receiver)> {
        let (reader, writer) = io::pipe()?;
        let mut command = process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        // With a uid, the standard library drops the supplementary groups too.
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        let output = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        // The command's end of the pipe is dropped with it.
        Ok((command.spawn()?, output))
    }
}

impl Outcome {
    /// The first line that it printed which is not empty, fit for a log: no control characters, not too long.
    pub fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        line.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
    }
}

/// As in "ended with status 1: disk is full".
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(f, "ended with status {code}")?,
            (None, Some(signal)) => write!(f, "was ended by signal {signal}")?,
            (None, None) => write!(f, "ended with {}", self.status)?,
        }
        let line = self.first_line();
        if line.is_empty() { Ok(()) } else { write!(f, ": {line}") }
    }
}

/// Processes that are killed when this is dropped: the program, and what it has started.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = killpg(group, Signal::SIGKILL)
        {
            tracing::warn!(%group, %error, "a program that took too long cannot be killed");
        }
    }
}

async fn wait(child: &mut Child, output: &mut Receiver) -> (io::Result<ExitStatus>, Vec<u8>) {
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    let mut is_open = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            read = output.read(&mut buffer), if is_open => match read {
                Ok(0) | Err(_) => is_open = false,
                Ok(length) => keep(&mut said, &buffer[..length]),
            },
        }
    };
    while said.len() < OUTPUT
        && let Ok(length @ 1..) = output.try_read(&mut buffer)
    {
        keep(&mut said, &buffer[..length]);
    }
    (status, said)
}

fn keep(said: &mut Vec<u8>, more: &[u8]) {
    said.extend_from_slice(&more[..more.len().min(OUTPUT - said.len())]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            user: None,
            environment: vec![("XDIRECTOR_POOL".into(), "web".into())],
        }
    }

    async fn run(script: &str, limit: Duration) -> String {
        match shell(script).run(limit).await {
            Ok(outcome) => outcome.to_string(),
            Err(error) => error.to_string(),
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_says_how_a_program_ended_and_what_it_said_first() {
        let rows = [
            ("exit 0", "ended with status 0"),
            ("echo; echo '  disk is full ' >&2; exit 3", "ended with status 3: disk is full"),
            ("echo $XDIRECTOR_POOL $HOME $(pwd)", "ended with status 0: web /"),
            ("kill -9 $$", "was ended by signal 9"),
            // What it leaves in the background holds its output, and is not waited for.
            ("sleep 1 & echo away", "ended with status 0: away"),
        ];
        for (script, expected) in rows {
            assert_eq!(run(script, LONG).await, expected, "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_or_is_not_there_is_an_error() {
        let limit = Duration::from_millis(50);
        assert_eq!(run("sleep 100", limit).await, "has not ended within 50ms, and was killed");
        let nowhere = Command { program: "/nowhere/hook".into(), ..shell("") };
        let error = nowhere.run(LONG).await.expect_err("it is not there").to_string();
        assert!(error.starts_with("cannot be started: No such file"), "{error}");
    }
}
