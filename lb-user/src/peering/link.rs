//! This director's connection to another: it tells and asks.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::message::{Message, Opinion, State};
use super::secure::{self, ChannelError, Psk, Reader, Writer};
use super::status::understand;
use super::{Event, HANDSHAKE, PAUSES, PING, SILENCE, Shared};
use crate::state::Batch;

/// Questions without an answer yet; more are not asked.
const OPEN_QUESTIONS: usize = 256;

/// What the daemon wants of a link.
#[derive(Debug)]
pub(super) enum Command {
    /// Tell it of these.
    Pins(Arc<Batch>),
    /// Ask it.
    Ask {
        /// The pool's name.
        pool: String,
        /// The real server's address.
        address: IpAddr,
        /// Takes the answer; dropped if there is none.
        reply: oneshot::Sender<Opinion>,
    },
}

/// Keeps up a connection to this director until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, psk: Arc<Psk>, peer: IpAddr, mut commands: mpsc::Receiver<Command>) {
    let mut pause = PAUSES.0;
    loop {
        let error = match session(&shared, &psk, peer, &mut commands).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // One that was connected is likely to be back soon.
        if shared.board.is_connected(peer) {
            pause = PAUSES.0;
        }
        let text = error.to_string();
        if shared.board.note_lost(peer, &text) {
            debug!(%peer, "not connected to the other director: {text}");
        } else {
            warn!(%peer, "not connected to the other director, trying again: {text}");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

enum Never {}

/// One connection, from its beginning to its end, which is an error.
async fn session(
    shared: &Shared,
    psk: &Psk,
    peer: IpAddr,
    commands: &mut mpsc::Receiver<Command>,
) -> Result<Never, ChannelError> {
    let opened = timeout(HANDSHAKE, open(shared, psk, peer)).await;
    let (mut reader, mut writer, theirs) = opened.map_err(|_| ChannelError::Silent(HANDSHAKE))??;
    introduce(shared, peer, &theirs);
    // What was meant for the last connection: this one is told everything anew.
    while commands.try_recv().is_ok() {}
    shared.board.note_connected(peer);
    info!(%peer, "connected to director {}, xdirector {}", theirs.name, theirs.version);
    if shared.events.send(Event::Connected(peer)).await.is_err() {
        return Err(ChannelError::Closed);
    }
    let questions = Questions::default();
    tokio::select! {
        ended = talk(shared, peer, &mut writer, commands, &questions) => ended,
        ended = listen(shared, peer, &mut reader, &questions) => ended,
    }
}

/// Says what a director that was just heard of means for this one, if that is news.
pub(super) fn introduce(shared: &Shared, peer: IpAddr, theirs: &State) {
    let own = shared.own.borrow().clone();
    if !shared.board.note_state(peer, theirs) || understand(&own, theirs) {
        return;
    }
    if own.seed != theirs.seed {
        warn!(
            %peer,
            "the other director has another hash_seed: connections will not survive a move of a vip; write the same \
             director.hash_seed to the files of all directors"
        );
    }
    if own.pins != theirs.pins {
        warn!(
            %peer,
            "the other director has limits.pins = {} and this one {}: what they remember of flows cannot be told; \
             write the same to the files of all directors",
            theirs.pins, own.pins
        );
    }
}

/// Connects, and exchanges introductions.
async fn open(shared: &Shared, psk: &Psk, peer: IpAddr) -> Result<(Reader, Writer, State), ChannelError> {
    let stream = connect(shared, peer).await?;
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = secure::call(stream, psk).await?;
    let own = shared.own.borrow().clone();
    writer.write(&Message::State(own)).await?;
    match reader.read().await? {
        Message::State(theirs) => Ok((reader, writer, theirs)),
        _ => Err(ChannelError::Order),
    }
}

async fn connect(shared: &Shared, peer: IpAddr) -> Result<TcpStream, ChannelError> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = shared.config.listen.filter(|local| local.is_ipv4() == peer.is_ipv4()) {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    Ok(socket.connect(SocketAddr::new(peer, shared.config.port)).await?)
}

/// Questions that wait for their answers, by number.
#[derive(Debug, Default)]
struct Questions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u32,
    waiting: HashMap<u32, oneshot::Sender<Opinion>>,
}

impl Questions {
    /// The number of a new one; `None` if too many wait already.
    fn ask(&self, reply: oneshot::Sender<Opinion>) -> Option<u32> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever asked may have given up.
        open.waiting.retain(|_, reply| !reply.is_closed());
        if open.waiting.len() >= OPEN_QUESTIONS {
            return None;
        }
        let number = open.next;
        open.next = open.next.wrapping_add(1);
        open.waiting.insert(number, reply);
        Some(number)
    }

    fn answer(&self, number: u32, opinion: Opinion) {
        let reply = self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&number);
        // Whoever asked may have given up.
        reply.map(|reply| reply.send(opinion).is_ok());
    }
}

async fn talk(
    shared: &Shared,
    peer: IpAddr,
    writer: &mut Writer,
    commands: &mut mpsc::Receiver<Command>,
    questions: &Questions,
) -> Result<Never, ChannelError> {
    let mut own: watch::Receiver<State> = shared.own.clone();
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            _ = ping.tick() => Message::Ping,
            changed = own.changed() => match changed {
                Ok(()) => Message::State(own.borrow_and_update().clone()),
                Err(_) => return Err(ChannelError::Closed),
            },
            command = commands.recv() => match command {
                Some(Command::Pins(batch)) => {
                    shared.board.count_sent(peer, batch.pins.len());
                    Message::Pins(Arc::unwrap_or_clone(batch))
                }
                Some(Command::Ask { pool, address, reply }) => match questions.ask(reply) {
                    Some(number) => Message::Question { number, pool, address },
                    None => continue,
                },
                None => return Err(ChannelError::Closed),
            },
        };
        within(SILENCE, writer.write(&message)).await?;
    }
}

async fn listen(
    shared: &Shared,
    peer: IpAddr,
    reader: &mut Reader,
    questions: &Questions,
) -> Result<Never, ChannelError> {
    let began = Instant::now();
    loop {
        match within(SILENCE, reader.read()).await? {
            Message::Pong => debug!(%peer, after = ?began.elapsed(), "the other director lives"),
            Message::State(theirs) => introduce(shared, peer, &theirs),
            Message::Answer { number, opinion } => questions.answer(number, opinion),
            Message::Ping | Message::Pins(_) | Message::Question { .. } => return Err(ChannelError::Order),
        }
    }
}

/// What takes longer than that will not come any more.
pub(super) async fn within<T>(
    limit: Duration,
    action: impl Future<Output = Result<T, ChannelError>>,
) -> Result<T, ChannelError> {
    timeout(limit, action).await.unwrap_or(Err(ChannelError::Silent(limit)))
}
