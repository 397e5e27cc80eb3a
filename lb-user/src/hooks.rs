//! Hooks: a program of the operator's is told of every change.
//!
//! Each call is a run of the program. Those about the same subject run one after the other, in order; a few about others
//! may run beside them. What takes too long is killed.

mod queue;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::command::Command;
use crate::config::Hooks;
use queue::Queue;

/// Runs at the same time.
const AT_ONCE: usize = 4;
/// Calls that wait; more than that, and the oldest are left out.
const WAITING: usize = 1024;

/// What the program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Calls with the same one are never run at the same time.
    pub subject: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Runs the program. Dropping it ends that, and kills what runs.
#[derive(Debug)]
pub struct Caller {
    calls: mpsc::UnboundedSender<Message>,
}

#[derive(Debug)]
enum Message {
    Program(Option<Hooks>),
    Call(Call),
}

impl Caller {
    /// Starts a task that runs this program; `None`: nothing is run.
    pub fn new(hooks: Option<Hooks>) -> Self {
        let (calls, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(hooks, receiver));
        Self { calls }
    }

    /// Another program for all that has not been called yet.
    pub fn set_program(&self, hooks: Option<Hooks>) {
        self.send(Message::Program(hooks));
    }

    /// Has the program called. Never waits: what waits is counted by the task, which only runs and starts programs.
    pub fn call(&self, call: Call) {
        self.send(Message::Call(call));
    }

    fn send(&self, message: Message) {
        if self.calls.send(message).is_err() {
            warn!("the hooks' task has ended; nobody is told of changes");
        }
    }
}

async fn run(mut hooks: Option<Hooks>, mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut queue = Queue::new(AT_ONCE, WAITING);
    let mut running: JoinSet<String> = JoinSet::new();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(Message::Program(program)) => hooks = program,
                Some(Message::Call(call)) => accept(&mut queue, call, hooks.is_some()),
                None => return,
            },
            Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                Ok(subject) => queue.handle_end(&subject),
                // Only a panic in the task: nothing of its subject runs any more, but which that was is not known.
                Err(error) => {
                    warn!("a hook could not be waited for: {error}");
                    running.abort_all();
                    queue.handle_all_ended();
                }
            },
        }
        while let Some(call) = queue.next() {
            // Without a program there is nothing to be told.
            let Some(hooks) = hooks.clone() else {
                queue.handle_end(&call.subject);
                continue;
            };
            running.spawn(run_one(hooks, call));
        }
    }
}

fn accept(queue: &mut Queue, call: Call, has_program: bool) {
    if !has_program {
        return;
    }
    if let Some(dropped) = queue.push(call) {
        let arguments = dropped.arguments.join(" ");
        warn!("hooks are too slow: {WAITING} calls wait, and this one is left out: {arguments}");
    }
}

async fn run_one(hooks: Hooks, call: Call) -> String {
    let Hooks { program, user, timeout } = hooks;
    let shown = format!("hook {} {}", program.display(), call.arguments.join(" "));
    let command = Command { program, arguments: call.arguments, user, environment: Vec::new() };
    match command.run(timeout).await {
        Ok(outcome) if outcome.status.success() && outcome.first_line().is_empty() => {}
        Ok(outcome) if outcome.status.success() => info!("{shown}: {}", outcome.first_line()),
        Ok(outcome) => warn!("{shown}: {outcome}"),
        Err(error) => warn!("{shown}: {error}"),
    }
    call.subject
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn call(subject: &str, argument: &str) -> Call {
        Call { subject: subject.into(), arguments: vec![subject.into(), argument.into()] }
    }

    /// A program with this shell script, and the file that it may write to.
    fn program(name: &str, script: &str) -> (Hooks, PathBuf) {
        let dir = std::env::temp_dir().join(format!("xdirector-hooks-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let (program, said) = (dir.join("hook.sh"), dir.join("said"));
        let _ = fs::remove_file(&said);
        fs::write(&program, format!("#!/bin/sh\n{}\n", script.replace("SAID", &said.display().to_string())))
            .expect("it is ours");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
        (Hooks { program, user: None, timeout: Duration::from_secs(20) }, said)
    }

    async fn lines(path: &PathBuf, count: usize) -> Vec<String> {
        let wait = async {
            loop {
                let text = fs::read_to_string(path).unwrap_or_default();
                if text.lines().count() >= count {
                    return text.lines().map(String::from).collect();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it is said in time")
    }

    #[tokio::test]
    async fn calls_about_one_subject_are_run_in_order_and_one_at_a_time() {
        let (hooks, said) = program("order", "echo begin $2 >> SAID; sleep 0.02; echo end $2 >> SAID");
        let caller = Caller::new(Some(hooks));
        (0..5).for_each(|number| caller.call(call("REAL", &number.to_string())));
        let expected: Vec<String> = (0..5).flat_map(|n| [format!("begin {n}"), format!("end {n}")]).collect();
        assert_eq!(lines(&said, 10).await, expected);
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_killed_and_holds_up_its_subject_only() {
        let (hooks, said) = program("hang", "[ $1 = slow ] && [ $2 = 0 ] && sleep 100; echo $1 $2 >> SAID");
        let caller = Caller::new(Some(Hooks { timeout: Duration::from_millis(500), ..hooks }));
        for (subject, number) in [("slow", "0"), ("slow", "1"), ("quick", "2")] {
            caller.call(call(subject, number));
        }
        assert_eq!(lines(&said, 2).await, ["quick 2", "slow 1"]);
    }

    #[tokio::test]
    async fn a_reload_takes_another_program_or_none() {
        let (first, said) = program("first", "echo first $2 >> SAID");
        let (second, _) = program("second", &format!("echo second $2 >> {}", said.display()));
        let caller = Caller::new(None);
        caller.call(call("REAL", "0"));
        caller.set_program(Some(first));
        caller.call(call("REAL", "1"));
        lines(&said, 1).await;
        caller.set_program(Some(second));
        caller.call(call("REAL", "2"));
        assert_eq!(lines(&said, 2).await, ["first 1", "second 2"]);
    }
}
