//! What the priority of a virtual router depends on: interfaces, scripts, processes, files, pools, gateways.
//!
//! Each thing is watched by a task of its own, once, however many virtual routers track it. What is found goes to the
//! [`Board`], which is pure, and what that says of a virtual router goes on at once, from the task that found it.
//!
//! Architecture invariant: nothing here knows health checks. Pools are told of, and how to ping is handed in.

mod board;
mod file;
mod gateway;
mod interface;
mod process;
mod script;
mod streak;

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::error;

use crate::config::Config;
use crate::config::vrrp::{TrackScript, Tracked};
use crate::net;
use crate::vrrp::priority::Health;

pub use board::TrackEvent;
use board::{Board, things};

/// How long what is not known yet is waited for, before it counts as neither well nor ill.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Whether an address answers a ping within a time.
pub type Ping = Arc<dyn Fn(IpAddr, Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// All that is tracked.
pub struct Tracking {
    shared: Arc<Shared>,
    ping: Ping,
    watchers: Vec<(Watched, Watcher)>,
    /// Ends the waiting for what is not known.
    patience: Option<Watcher>,
}

/// What the watchers have in common.
struct Shared {
    board: Mutex<Board>,
    sink: Box<dyn Fn(TrackEvent) + Send + Sync>,
    is_complete: watch::Sender<bool>,
}

/// What one task watches.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Watched {
    Interfaces(Vec<String>),
    Script(TrackScript),
    Process(String),
    File(PathBuf),
    Gateway(IpAddr),
}

/// A task that ends when this is dropped.
struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tracking {
    /// Of nothing yet. `sink` is called with each change, in their order, by whoever finds it: it must not wait, and must not
    /// call back.
    pub fn new(ping: Ping, sink: impl Fn(TrackEvent) + Send + Sync + 'static) -> Self {
        let (is_complete, _) = watch::channel(true);
        let shared = Shared { board: Mutex::default(), sink: Box::new(sink), is_complete };
        Self { shared: Arc::new(shared), ping, watchers: Vec::new(), patience: None }
    }

    /// Tracks what this file wants. What it wants as before goes on undisturbed. Must be called within a runtime, in the
    /// network namespace whose interfaces are meant.
    pub fn apply(&mut self, config: &Config) {
        self.shared.tell(|board| board.handle_config(config));
        let wanted = watched(config);
        self.watchers.retain(|(what, watcher)| wanted.contains(what) && !watcher.0.is_finished());
        for what in wanted {
            if !self.watchers.iter().any(|(other, _)| *other == what) {
                let watcher = self.watch(what.clone());
                self.watchers.extend(watcher.map(|watcher| (what, watcher)));
            }
        }
        let shared = Arc::clone(&self.shared);
        self.patience = Some(Watcher(tokio::spawn(async move {
            sleep(PATIENCE).await;
            shared.tell(Board::handle_overdue);
        })));
    }

    /// How a pool is now, by its name. Harmless for one that nobody tracks.
    pub fn handle_pool(&self, pool: &str, health: Health) {
        let thing = Tracked::Pool(pool.to_owned()).describe();
        self.shared.tell(|board| board.handle_health(&thing, health));
    }

    /// Until it has been said of each virtual router what it comes to: at most [`PATIENCE`] after [`Tracking::apply`].
    pub async fn completed(&self) {
        let mut is_complete = self.shared.is_complete.subscribe();
        // It fails only without the sender, which is ours.
        drop(is_complete.wait_for(|is_complete| *is_complete).await);
    }

    fn watch(&self, what: Watched) -> Option<Watcher> {
        let reporter = |thing: Tracked| Reporter { shared: Arc::clone(&self.shared), thing: thing.describe() };
        let task = match what {
            Watched::Interfaces(names) => {
                let news = match net::watch_links() {
                    Ok(news) => news,
                    Err(error) => {
                        error!("interfaces cannot be tracked: {error}");
                        return None;
                    }
                };
                let each = |name: String| (name.clone(), reporter(Tracked::Interface(name)));
                tokio::spawn(interface::watch(names.into_iter().map(each).collect(), news))
            }
            Watched::Script(it) => tokio::spawn(script::watch(it.clone(), reporter(Tracked::Script(it)))),
            Watched::Process(name) => tokio::spawn(process::watch(name.clone(), reporter(Tracked::Process(name)))),
            Watched::File(path) => tokio::spawn(file::watch(path.clone(), reporter(Tracked::File(path)))),
            Watched::Gateway(it) => {
                let reporter = reporter(Tracked::Gateway(it));
                tokio::spawn(gateway::watch(it, gateway::INTERVAL, Arc::clone(&self.ping), reporter))
            }
        };
        Some(Watcher(task))
    }
}

/// What tasks there are to be. Pools need none.
fn watched(config: &Config) -> Vec<Watched> {
    let mut interfaces = Vec::new();
    let mut watched = Vec::new();
    for thing in things(config) {
        match thing {
            Tracked::Interface(name) => interfaces.push(name.clone()),
            Tracked::Script(script) => watched.push(Watched::Script(script.clone())),
            Tracked::Process(name) => watched.push(Watched::Process(name.clone())),
            Tracked::File(path) => watched.push(Watched::File(path.clone())),
            Tracked::Pool(_) => {}
            Tracked::Gateway(address) => watched.push(Watched::Gateway(*address)),
        }
    }
    if !interfaces.is_empty() {
        watched.push(Watched::Interfaces(interfaces));
    }
    watched
}

impl Shared {
    /// What comes of it goes on before anything else can be told.
    fn tell(&self, what: impl FnOnce(&mut Board) -> Vec<TrackEvent>) {
        // A panic elsewhere leaves the board as whole as it was.
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut board).into_iter().for_each(|event| (self.sink)(event));
        self.is_complete.send_replace(board.is_complete());
    }
}

/// By which a watcher says how its thing is.
struct Reporter {
    shared: Arc<Shared>,
    thing: String,
}

impl Reporter {
    /// Whether that is another state than the one before.
    fn report(&self, health: Health) -> bool {
        let mut is_news = false;
        self.shared.tell(|board| {
            is_news = board.is_news(&self.thing, health);
            board.handle_health(&self.thing, health)
        });
        is_news
    }
}

#[cfg(test)]
mod tests;
