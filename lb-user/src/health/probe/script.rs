//! A script: any program, judged by its exit status.

use super::deadline::Deadline;
use super::{Answer, ProbeFailure, Target, Weight};
use crate::command::{Command, CommandError, Outcome};
use crate::config::Script;

pub async fn probe(script: &Script, target: Target<'_>, deadline: Deadline) -> Result<Answer, ProbeFailure> {
    // Nothing has come before it, so the script has all of the time.
    let outcome = command(script, target).run(deadline.limit()).await.map_err(failure)?;
    judge(&outcome)
}

fn command(script: &Script, target: Target<'_>) -> Command {
    let environment = [
        ("XDIRECTOR_POOL", target.pool.to_owned()),
        ("XDIRECTOR_REAL", target.real.to_owned()),
        ("XDIRECTOR_ADDRESS", target.address.ip().to_string()),
        ("XDIRECTOR_PORT", target.address.port().to_string()),
    ];
    Command {
        program: script.program.clone(),
        arguments: script.arguments.clone(),
        user: script.user.clone(),
        environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    }
}

fn failure(error: CommandError) -> ProbeFailure {
    match error {
        CommandError::Start(error) => ProbeFailure::from_io("starting the script", error),
        CommandError::Wait(error) => ProbeFailure::from_io("waiting for the script", error),
        CommandError::TimedOut(limit) => ProbeFailure::TimedOut { limit, doing: "waiting for the script to end" },
    }
}

/// As keepalived's misc_dynamic: 0 is up, 1 is down, from 2 on it is up with a weight of two less.
fn judge(outcome: &Outcome) -> Result<Answer, ProbeFailure> {
    match outcome.status.code() {
        Some(0) => Ok(Answer::default()),
        Some(code @ 2..=255) => Ok(Answer { weight: Some(Weight::Units(code as u16 - 2)), drain: false }),
        _ => Err(ProbeFailure::wrong(format!("the script {outcome}"))),
    }
}
