//! Hooks: programs that are told when the state of a virtual router or of a sync group changes, as keepalived's `notify`
//! scripts are.
//!
//! The arguments are keepalived's: `INSTANCE` or `GROUP`, the name, the state, the priority (0 for a group). For each router
//! and each group, the next one begins when the one before has ended; those of different ones run side by side. Nobody waits
//! for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::command::Command;
use crate::config::{Account, Config};
use crate::vrrp::machine::State;

/// A hook that runs for longer is killed.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Changes of one router that its hook has not been told of; more are not told, for they come from a flapping one whose hook
/// hangs.
const QUEUE: usize = 64;

/// Whose state changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Router,
    Group,
}

/// Runs hooks. Dropping it kills those that run.
#[derive(Debug, Default)]
pub struct Notifier {
    queues: HashMap<(Kind, String), mpsc::Sender<Command>>,
    workers: JoinSet<()>,
}

impl Notifier {
    /// A virtual router of this name has come to this state, with this priority in effect. Does nothing if the file has no
    /// hook for it. Never waits; must be called within a runtime.
    pub fn handle_router(&mut self, config: &Config, name: &str, state: State, priority: u8) {
        let Some(router) = config.vrrp.iter().find(|router| router.name == name) else { return };
        self.notify(Kind::Router, name, (router.notify.as_ref(), router.notify_user.as_ref()), state, priority);
    }

    /// All members of the sync group of this name have come to this state. The same in all else.
    pub fn handle_group(&mut self, config: &Config, name: &str, state: State) {
        let Some(group) = config.sync_groups.iter().find(|group| group.name == name) else { return };
        self.notify(Kind::Group, name, (group.notify.as_ref(), group.notify_user.as_ref()), state, 0);
    }

    /// Waits until all hooks have ended, but not for longer than this; then those that still run are killed.
    pub async fn finish(mut self, limit: Duration) {
        self.queues.clear();
        let all = async { while self.workers.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            warn!("hooks still run, and are killed");
        }
    }

    fn notify(
        &mut self,
        kind: Kind,
        name: &str,
        (program, user): (Option<&PathBuf>, Option<&Account>),
        state: State,
        priority: u8,
    ) {
        let Some(program) = program else { return };
        let arguments = vec![kind.word().into(), name.to_owned(), word(state).into(), priority.to_string()];
        let command = Command { program: program.clone(), arguments, user: user.cloned(), environment: Vec::new() };
        let workers = &mut self.workers;
        let queue = self.queues.entry((kind, name.to_owned())).or_insert_with(|| {
            let (queue, jobs) = mpsc::channel(QUEUE);
            workers.spawn(work(jobs));
            queue
        });
        if queue.try_send(command).is_err() {
            warn!("the hook of {name} is so far behind that it is not told of {}", word(state));
        }
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Router => "INSTANCE",
            Self::Group => "GROUP",
        }
    }
}

/// As keepalived calls it.
const fn word(state: State) -> &'static str {
    match state {
        State::Init => "STOP",
        State::Backup => "BACKUP",
        State::Master => "MASTER",
        State::Fault => "FAULT",
    }
}

async fn work(mut jobs: mpsc::Receiver<Command>) {
    while let Some(command) = jobs.recv().await {
        let called = format!("{} {}", command.program.display(), command.arguments.join(" "));
        debug!("running {called}");
        match command.run(LIMIT).await {
            Ok(outcome) if outcome.status.success() => info!("hook {called} has ended"),
            Ok(outcome) => warn!("hook {called} {outcome}"),
            Err(error) => warn!("hook {called} {error}"),
        }
    }
}

#[cfg(test)]
mod tests;
