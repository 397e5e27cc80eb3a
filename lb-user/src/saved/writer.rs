//! Writes what is to be kept, one after the other, so that a slow disk delays nobody who forwards packets.

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::{SaveError, StateDir};

/// Texts that wait for the disk; each is the work of an operator's command, or of an answer of a discovery.
const WAITING: usize = 64;

struct Job {
    name: &'static str,
    text: String,
    done: oneshot::Sender<Result<(), SaveError>>,
}

/// The one who writes; clones write in the same order that they were asked in.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Call this within a runtime. It ends when the last clone is dropped and everything has been written.
    pub fn start(dir: StateDir) -> Self {
        let (sender, mut jobs) = mpsc::channel::<Job>(WAITING);
        tokio::spawn(async move {
            while let Some(Job { name, text, done }) = jobs.recv().await {
                let dir = dir.clone();
                let written = tokio::task::spawn_blocking(move || dir.write(name, &text)).await;
                match written {
                    Ok(outcome) => drop(done.send(outcome)),
                    // The runtime ends, or the write panicked, which it has no reason for: whoever waits is told by `done`.
                    Err(error) => debug!(%error, name, "not written"),
                }
            }
        });
        Self(sender)
    }

    /// Has a file replaced. What comes back says how that went; it need not be waited for.
    pub fn save(&self, name: &'static str, text: String) -> impl Future<Output = Result<(), String>> + use<> {
        let (done, outcome) = oneshot::channel();
        let sent = self.0.try_send(Job { name, text, done });
        async move {
            if sent.is_err() {
                return Err("the disk does not keep up".into());
            }
            match outcome.await {
                Ok(outcome) => outcome.map_err(|error| {
                    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    format!("{error}: {source}")
                }),
                Err(_) => Err("the daemon ends".into()),
            }
        }
    }
}
