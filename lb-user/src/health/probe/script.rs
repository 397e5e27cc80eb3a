//! A script: any program, judged by its exit status.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use super::deadline::Deadline;
use super::{Answer, ProbeFailure, Target, Weight};
use crate::config::Script;

/// A script finds its programs here, whatever the daemon was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of its output is kept; the rest is thrown away.
const OUTPUT: usize = 4096;
/// How much of that is shown.
const SHOWN: usize = 200;

pub async fn probe(script: &Script, target: Target<'_>, deadline: Deadline) -> Result<Answer, ProbeFailure> {
    let failed = |error| ProbeFailure::from_io("starting the script", error);
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let mut command = command(script, target);
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // Our end of the pipe's other side.
    drop(command);
    // Dropped before the child is, so the group's number is still the child's when it is killed.
    let mut group = Group::of(&child);
    let mut output = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let (status, said) = deadline.wait("waiting for the script to end", run(&mut child, &mut output)).await?;
    group.0 = None;
    judge(status.map_err(|error| ProbeFailure::from_io("waiting for the script", error))?, &said)
}

/// Processes that are killed when this is dropped: what the script has started, and itself.
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
            tracing::warn!(%group, %error, "a script that took too long cannot be killed");
        }
    }
}

fn command(script: &Script, target: Target<'_>) -> Command {
    let mut command = Command::new(&script.program);
    command
        .args(&script.arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("XDIRECTOR_POOL", target.pool)
        .env("XDIRECTOR_REAL", target.real)
        .env("XDIRECTOR_ADDRESS", target.address.ip().to_string())
        .env("XDIRECTOR_PORT", target.address.port().to_string())
        .envs(target.vip.map(|vip| ("XDIRECTOR_VIP", vip.to_string())))
        .current_dir("/")
        .process_group(0);
    // With a uid, the standard library drops the supplementary groups too.
    if let Some(user) = &script.user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Until it ends, not until its output does: what it has left in the background may hold that open.
async fn run(child: &mut Child, output: &mut Receiver) -> (std::io::Result<ExitStatus>, Vec<u8>) {
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

/// As keepalived's misc_dynamic: 0 is up, 1 is down, from 2 on it is up with a weight of two less.
fn judge(status: ExitStatus, said: &[u8]) -> Result<Answer, ProbeFailure> {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let quoted = |what: String| {
        let shown: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        ProbeFailure::wrong(if shown.is_empty() { what } else { format!("{what}: {shown}") })
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(Answer::default()),
        (Some(code @ 2..=255), _) => Ok(Answer { weight: Some(Weight::Units(code as u16 - 2)), drain: false }),
        (Some(code), _) => Err(quoted(format!("the script ended with status {code}"))),
        (None, Some(signal)) => Err(quoted(format!("the script was ended by signal {signal}"))),
        (None, None) => Err(quoted(format!("the script ended with {status}"))),
    }
}
