//! The channel between directors: what each tells and asks the others.
//!
//! ```text
//! director A: link ---- State, Pins, Questions ----> listener: director B
//! director A: listener <---- the same ---- link: director B
//! ```
//!
//! A connection serves the one who opened it: it tells and asks, the other answers. So each pair of directors has two, and a
//! firewall that lets one through only does not stop the other. Everything on them is encrypted, and proves that its sender
//! has the key ([`secure`]). This module knows sockets and clocks, but neither maps nor checks: it brings the daemon
//! [`Event`]s, and takes what is to be told from it.

mod link;
mod listener;
pub mod message;
mod secure;
mod status;
pub mod strangers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tracing::error;

pub use message::{Opinion, State, Verdict};
pub use secure::stands_for;
pub use status::PeeringStatus;

use crate::config;
use crate::state::Batch;
use link::Command;
use secure::Psk;
use status::Board;

/// Events between two turns of the daemon; a connection that finds no room waits, and so does who sends on it.
const EVENTS: usize = 32;
/// Batches and questions on their way to one director, of at most 64 KiB each.
const COMMANDS: usize = 32;
/// A connection on which nothing has come for so long is dead. Something is sent every [`PING`].
const SILENCE: Duration = Duration::from_secs(3);
/// How often each connection is asked whether it lives.
const PING: Duration = Duration::from_secs(1);
/// How long it may take to connect, and how long until both have proved that they have the key.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// From the first attempt to connect that fails to the next, and the longest such time.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What another director wants.
#[derive(Debug)]
pub enum Event {
    /// It is there, and has to be told everything.
    Connected(IpAddr),
    /// It tells of pins that mean here what they mean there.
    Pins(IpAddr, Batch),
    /// It asks what is thought of a real server here.
    Question {
        /// The pool's name.
        pool: String,
        /// The real server's address.
        address: IpAddr,
        /// Takes the answer.
        reply: oneshot::Sender<Opinion>,
    },
}

/// What all tasks of the channel share.
#[derive(Debug)]
struct Shared {
    config: config::Peering,
    peers: Vec<IpAddr>,
    own: watch::Receiver<State>,
    board: Board,
    events: mpsc::Sender<Event>,
}

/// The channel to all other directors. Dropping it ends it.
#[derive(Debug)]
pub struct Peering {
    shared: Arc<Shared>,
    own: watch::Sender<State>,
    links: Arc<[(IpAddr, mpsc::Sender<Command>)]>,
    events: mpsc::Receiver<Event>,
    task: AbortHandle,
}

impl Peering {
    /// Listens, and calls these directors, from now on. What fails is tried again.
    pub fn start(config: &config::Peering, peers: &[IpAddr], own: State) -> Self {
        let (events, received) = mpsc::channel(EVENTS);
        let (own, watched) = watch::channel(own);
        let board = Board::new(peers);
        let shared = Arc::new(Shared { config: config.clone(), peers: peers.to_vec(), own: watched, board, events });
        let channel = |peer: &IpAddr| {
            let (sender, receiver) = mpsc::channel(COMMANDS);
            ((*peer, sender), (*peer, receiver))
        };
        let (links, receivers): (Vec<_>, Vec<_>) = peers.iter().map(channel).unzip();
        let task = tokio::spawn(run(Arc::clone(&shared), receivers)).abort_handle();
        Self { shared, own, links: links.into(), events: received, task }
    }

    /// The next thing that another director wants.
    pub async fn event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // It has a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Lets the others know what this director is now, if that has changed.
    pub fn introduce(&self, own: State) {
        self.own.send_if_modified(|current| {
            let differs = *current != own;
            *current = own;
            differs
        });
    }

    /// Whether there is another director that can be told something.
    pub fn has_listeners(&self) -> bool {
        self.shared.peers.iter().any(|peer| self.listens(*peer))
    }

    /// Whether this director is connected, and pins mean there what they mean here.
    pub fn listens(&self, peer: IpAddr) -> bool {
        self.shared.board.understands(peer, &self.own.borrow())
    }

    /// Tells a director of these pins; `false` if it is not there or has not kept pace: then it has to be told everything
    /// anew.
    pub fn tell(&self, peer: IpAddr, batch: &Arc<Batch>) -> bool {
        let link = self.links.iter().find(|(other, _)| *other == peer);
        let told = |link: &mpsc::Sender<Command>| link.try_send(Command::Pins(Arc::clone(batch))).is_ok();
        self.listens(peer) && link.is_some_and(|(_, link)| told(link))
    }

    /// How many batches it could be told at once.
    pub fn room(&self, peer: IpAddr) -> usize {
        self.links.iter().find(|(other, _)| *other == peer).map_or(0, |(_, link)| link.capacity())
    }

    /// Returns when nothing waits to be sent to those that are there.
    pub async fn said(&self) {
        for (_, link) in self.links.iter().filter(|(peer, _)| self.listens(*peer)) {
            // A link that has closed has nothing to send.
            let _ = link.reserve_many(link.max_capacity()).await;
        }
    }

    /// What the others think of a real server; see [`Asker::opinion`].
    pub async fn opinion(&self, pool: &str, address: IpAddr, deadline: Instant) -> Vec<(IpAddr, Opinion)> {
        self.asker().opinion(pool, address, deadline).await
    }

    /// Asks for opinions; may be used while the channel is.
    pub fn asker(&self) -> Asker {
        Asker { shared: Arc::clone(&self.shared), links: Arc::clone(&self.links) }
    }

    /// How the connections to all other directors do.
    pub fn status(&self) -> Vec<PeeringStatus> {
        self.shared.board.status(&self.own.borrow())
    }
}

impl Drop for Peering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks other directors what they think of a real server.
#[derive(Clone, Debug)]
pub struct Asker {
    shared: Arc<Shared>,
    links: Arc<[(IpAddr, mpsc::Sender<Command>)]>,
}

impl Asker {
    /// The opinions of those that answer until the deadline, at once if no director is connected. Waits for nobody but
    /// them.
    pub async fn opinion(&self, pool: &str, address: IpAddr, deadline: Instant) -> Vec<(IpAddr, Opinion)> {
        let asked =
            self.links.iter().filter(|(peer, _)| self.shared.board.is_connected(*peer)).filter_map(|(peer, link)| {
                let (reply, answer) = oneshot::channel();
                link.try_send(Command::Ask { pool: pool.to_owned(), address, reply }).ok()?;
                Some((*peer, answer))
            });
        let asked: Vec<_> = asked.collect();
        let mut opinions = Vec::new();
        for (peer, answer) in asked {
            if let Ok(Ok(opinion)) = timeout_at(deadline, answer).await {
                opinions.push((peer, opinion));
            }
        }
        opinions
    }
}

/// Until it is aborted: then all that it has started ends too.
async fn run(shared: Arc<Shared>, links: Vec<(IpAddr, mpsc::Receiver<Command>)>) {
    let key = shared.config.key.clone();
    let psk = match tokio::task::spawn_blocking(move || Psk::derive(&key)).await {
        Ok(psk) => Arc::new(psk),
        Err(error) => return error!("the key of [peering] cannot be used: {error}"),
    };
    let mut tasks = JoinSet::new();
    for local in listener::addresses(&shared.config, &shared.peers) {
        tasks.spawn(listener::run(Arc::clone(&shared), Arc::clone(&psk), local));
    }
    for (peer, commands) in links {
        tasks.spawn(link::run(Arc::clone(&shared), Arc::clone(&psk), peer, commands));
    }
    while tasks.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
