//! Connections from other directors: they tell and ask, this one answers.
//!
//! Whoever is not in `director.peers` is sent away unheard. Of those who are, eight at a time may try to prove that they have
//! the key, for two seconds each; each of them has one connection, the newest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::link::{introduce, within};
use super::message::{Message, State};
use super::secure::{self, ChannelError, Psk, Reader, Writer};
use super::strangers::Strangers;
use super::{Event, HANDSHAKE, PAUSES, SILENCE, Shared};
use crate::config;

/// Connections whose other end has not proved yet that it has the key.
const PENDING: usize = 8;
/// Connections that the system keeps for us.
const BACKLOG: i32 = 16;
/// How often is looked whether something has to be said of strangers.
const GLANCE: Duration = Duration::from_secs(10);
/// How long the daemon may take to say its opinion.
const OPINION: Duration = Duration::from_secs(1);

/// Where to listen: at the address of the file, else at any of each family that a peer has.
pub(super) fn addresses(config: &config::Peering, peers: &[IpAddr]) -> Vec<SocketAddr> {
    let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let wanted = |any: &IpAddr| peers.iter().any(|peer| peer.is_ipv4() == any.is_ipv4());
    let local: Vec<IpAddr> = match config.listen {
        Some(listen) => vec![listen],
        None => any.into_iter().filter(wanted).collect(),
    };
    local.into_iter().map(|address| SocketAddr::new(address, config.port)).collect()
}

/// Until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, psk: Arc<Psk>, local: SocketAddr) {
    let listener = bound(local).await;
    let mut door = Door::new(shared, psk);
    let mut glance = interval(GLANCE);
    glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => door.let_in(stream, from.ip().to_canonical()),
                Err(error) => {
                    error!("cannot accept connections of other directors; trying again: {error}");
                    sleep(PAUSES.0).await;
                }
            },
            Some(ended) = door.tasks.join_next() => match ended {
                Ok(ended) => door.handle_end(&ended),
                Err(error) => error!("a connection of another director has ended with a defect: {error}"),
            },
            _ = glance.tick() => door.say(),
        }
    }
}

/// Tries until it has the port: a former daemon may have it yet.
async fn bound(local: SocketAddr) -> TcpListener {
    let mut pause = PAUSES.0;
    let mut said = false;
    loop {
        match bind(local) {
            Ok(listener) => {
                info!("listening for other directors at {local}");
                return listener;
            }
            Err(error) if said => debug!("cannot listen for other directors at {local}: {error}"),
            Err(error) => warn!("cannot listen for other directors at {local}, trying again: {error}"),
        }
        said = true;
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn bind(local: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    if local.is_ipv6() {
        // IPv4 has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How a connection ended: from whom, which one it was, and why.
struct Ended {
    peer: IpAddr,
    number: u64,
    /// Whether it had proved that it has the key.
    known: bool,
    error: ChannelError,
}

struct Door {
    shared: Arc<Shared>,
    psk: Arc<Psk>,
    pending: Arc<Semaphore>,
    tasks: JoinSet<Ended>,
    /// The number of the next connection.
    next: u64,
    strangers: Strangers,
    began: Instant,
}

impl Door {
    fn new(shared: Arc<Shared>, psk: Arc<Psk>) -> Self {
        let pending = Arc::new(Semaphore::new(PENDING));
        let (tasks, strangers) = (JoinSet::new(), Strangers::default());
        Self { shared, psk, pending, tasks, next: 0, strangers, began: Instant::now() }
    }

    fn let_in(&mut self, stream: TcpStream, from: IpAddr) {
        if !self.shared.peers.contains(&from) {
            return self.refuse(from, "it is not in director.peers");
        }
        let Ok(permit) = Arc::clone(&self.pending).try_acquire_owned() else {
            return self.refuse(from, "too many others are trying to connect");
        };
        let (number, shared, psk) = (self.next, Arc::clone(&self.shared), Arc::clone(&self.psk));
        self.next += 1;
        self.tasks.spawn(async move { serve(&shared, &psk, stream, from, number, permit).await });
    }

    fn handle_end(&mut self, ended: &Ended) {
        let Ended { peer, number, known, error } = ended;
        self.shared.board.note_unheard(*peer, *number);
        match known {
            true => debug!(%peer, "the other director's connection has ended: {error}"),
            false => self.refuse(*peer, &error.to_string()),
        }
    }

    fn refuse(&mut self, from: IpAddr, why: &str) {
        let said = self.strangers.note(self.began.elapsed(), format!("{from}: {why}"));
        self.warn(said);
    }

    fn say(&mut self) {
        let said = self.strangers.due(self.began.elapsed());
        self.warn(said);
    }

    fn warn(&self, said: Option<String>) {
        if let Some(said) = said {
            warn!("a connection to the port of [peering] was refused; from {said}");
        }
    }
}

/// One connection, from its beginning to its end.
async fn serve(
    shared: &Shared,
    psk: &Psk,
    stream: TcpStream,
    peer: IpAddr,
    number: u64,
    permit: OwnedSemaphorePermit,
) -> Ended {
    let ended = |known, error| Ended { peer, number, known, error };
    let (mut reader, mut writer, theirs) = match timeout(HANDSHAKE, open(psk, stream)).await {
        Ok(Ok(open)) => open,
        Ok(Err(error)) => return ended(false, error),
        Err(_) => return ended(false, ChannelError::Silent(HANDSHAKE)),
    };
    drop(permit);
    introduce(shared, peer, &theirs);
    shared.board.note_heard(peer, number);
    let error = match answer_all(shared, peer, number, &mut reader, &mut writer).await {
        Ok(()) => ChannelError::Closed,
        Err(error) => error,
    };
    ended(true, error)
}

/// The handshake, and the first message, which proves that the other has the key.
async fn open(psk: &Psk, stream: TcpStream) -> Result<(Reader, Writer, State), ChannelError> {
    stream.set_nodelay(true)?;
    let (mut reader, writer) = secure::answer(stream, psk).await?;
    match reader.read().await {
        Ok(Message::State(theirs)) => Ok((reader, writer, theirs)),
        Ok(_) => Err(ChannelError::Order),
        // What began the handshake was recorded and played again, if not damaged on the way.
        Err(ChannelError::Frame) => Err(ChannelError::Key),
        Err(error) => Err(error),
    }
}

/// Until a newer connection has taken its place.
async fn answer_all(
    shared: &Shared,
    peer: IpAddr,
    number: u64,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Result<(), ChannelError> {
    let own = shared.own.borrow().clone();
    within(SILENCE, writer.write(&Message::State(own))).await?;
    while shared.board.hears_by(peer, number) {
        let reply = match within(SILENCE, reader.read()).await? {
            Message::Ping => Some(Message::Pong),
            Message::State(theirs) => {
                introduce(shared, peer, &theirs);
                None
            }
            Message::Pins(batch) => {
                let useful = shared.board.count_received(peer, batch.pins.len(), &shared.own.borrow());
                if useful && shared.events.send(Event::Pins(peer, batch)).await.is_err() {
                    return Err(ChannelError::Closed);
                }
                None
            }
            Message::Question { number, pool, address } => ask_daemon(shared, number, pool, address).await,
            Message::Pong | Message::Answer { .. } => return Err(ChannelError::Order),
        };
        if let Some(reply) = reply {
            within(SILENCE, writer.write(&reply)).await?;
        }
    }
    Ok(())
}

/// `None` if the daemon is busy: who asked will not wait.
async fn ask_daemon(shared: &Shared, number: u32, pool: String, address: IpAddr) -> Option<Message> {
    let (reply, opinion) = oneshot::channel();
    let asked = shared.events.send(Event::Question { pool, address, reply });
    let opinion = timeout(OPINION, async {
        asked.await.ok()?;
        opinion.await.ok()
    });
    Some(Message::Answer { number, opinion: opinion.await.ok()?? })
}
