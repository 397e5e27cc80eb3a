//! The driver around [`Table`]: one task, one netlink socket that hears changes and asks.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::mpsc;
use tokio::time::interval;
use tracing::{debug, warn};

use super::table::{Ask, Route, Table};
use super::{NetError, NetEvent, messages};

/// How often stale entries are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Ticks between two readings of all routes and neighbours, in case a change was not heard of.
const TICKS_TO_RESYNC: u32 = 20;
/// Commands come from the daemon's loop, one or two for each change of config or health.
const COMMANDS: usize = 64;
/// Events go to the daemon's loop; when it is behind, the task waits and the kernel's socket buffers.
const EVENTS: usize = 256;

#[derive(Debug)]
enum Command {
    Targets(Vec<IpAddr>),
    Doubt(IpAddr, bool),
}

/// What the daemon tells the watcher.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// Makes these the addresses whose MACs are kept fresh.
    pub async fn targets(&self, addresses: Vec<IpAddr>) {
        self.send(Command::Targets(addresses)).await;
    }

    /// Says that an address's health check fails, or no longer does.
    pub async fn doubt(&self, address: IpAddr, doubted: bool) {
        self.send(Command::Doubt(address, doubted)).await;
    }

    async fn send(&self, command: Command) {
        if self.0.send(command).await.is_err() {
            warn!("the neighbour watcher has ended; MACs stay as they are");
        }
    }
}

/// Starts watching, in the network namespace of the calling thread. It ends when the receiver is dropped.
///
/// # Errors
/// If there is no netlink.
pub fn watch() -> Result<(Commands, mpsc::Receiver<NetEvent>), NetError> {
    let (connection, handle, heard) = new_multicast_connection(&[MulticastGroup::Link, MulticastGroup::Neigh])?;
    tokio::spawn(connection);
    let (command_sender, commands) = mpsc::channel(COMMANDS);
    let (events, event_receiver) = mpsc::channel(EVENTS);
    let watcher = Watcher { handle, table: Table::default(), events };
    tokio::spawn(watcher.run(commands, heard));
    Ok((Commands(command_sender), event_receiver))
}

struct Watcher {
    handle: Handle,
    table: Table,
    events: mpsc::Sender<NetEvent>,
}

type Heard<S> = (rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>, S);

impl Watcher {
    async fn run<S>(mut self, mut commands: mpsc::Receiver<Command>, heard: impl StreamExt<Item = Heard<S>>) {
        let mut heard = std::pin::pin!(heard);
        let mut ticks = interval(TICK);
        let mut until_resync = TICKS_TO_RESYNC;
        while !self.events.is_closed() {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command).await,
                    None => return,
                },
                message = heard.next() => match message {
                    Some((message, _)) => self.handle_message(message.payload).await,
                    None => {
                        warn!("the netlink socket has closed; MACs stay as they are");
                        return;
                    }
                },
                _ = ticks.tick() => {
                    until_resync -= 1;
                    if until_resync == 0 {
                        until_resync = TICKS_TO_RESYNC;
                        self.resync(self.table.addresses()).await;
                    }
                }
            }
            self.ask().await;
        }
    }

    async fn handle_command(&mut self, command: Command) {
        match command {
            Command::Targets(addresses) => {
                let new = self.table.handle_targets(&addresses);
                if !new.is_empty() {
                    self.resync(new).await;
                }
            }
            Command::Doubt(address, doubted) => self.table.handle_doubt(address, doubted),
        }
    }

    async fn handle_message(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) {
        match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
                if let Some(entry) = messages::neighbour(&message) {
                    self.handle_entry(&entry).await;
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message)) => {
                if let Some(entry) = messages::neighbour(&message) {
                    self.table.handle_gone(entry.interface, entry.address);
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                if let Some(link) = messages::link(&message) {
                    self.publish(NetEvent::Link(link)).await;
                }
            }
            NetlinkPayload::Overrun(_) => self.resync(self.table.addresses()).await,
            _ => {}
        }
    }

    async fn handle_entry(&mut self, entry: &super::table::Entry) {
        if let Some(mac) = self.table.handle_entry(entry) {
            self.publish(NetEvent::Neighbour { address: entry.address, mac }).await;
        }
    }

    async fn publish(&self, event: NetEvent) {
        if self.events.send(event).await.is_err() {
            debug!("nobody listens for network events any more");
        }
    }

    /// Reads the routes of these addresses, and all neighbours.
    async fn resync(&mut self, addresses: Vec<IpAddr>) {
        for address in addresses {
            let route = messages::route(&self.handle, address).await.unwrap_or(Route::None);
            if self.table.handle_route(address, route) {
                explain(address, route);
            }
        }
        match messages::neighbours(&self.handle).await {
            Ok(entries) => {
                for entry in entries {
                    self.handle_entry(&entry).await;
                }
            }
            Err(error) => warn!(%error, "cannot read the neighbour table; trying again in a few seconds"),
        }
    }

    async fn ask(&mut self) {
        for Ask { interface, address, forget } in self.table.poll_asks(Instant::now()) {
            if forget && let Err(error) = messages::forget(&self.handle, interface, address).await {
                debug!(%address, %error, "cannot make the kernel forget a neighbour");
            }
            if let Err(error) = messages::ask(&self.handle, interface, address).await {
                debug!(%address, %error, "cannot make the kernel ask for a neighbour");
            }
        }
    }
}

fn explain(address: IpAddr, route: Route) {
    match route {
        Route::Link(interface) => debug!(%address, interface, "found on a link"),
        Route::Gateway => {
            warn!(%address, "is behind a router; direct server return needs it on the director's segment")
        }
        Route::Local => warn!(%address, "is this machine; a director that is also a real server is not supported yet"),
        Route::None => warn!(%address, "has no route; give the director an address in its network"),
    }
}
