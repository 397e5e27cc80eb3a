//! The driver around [`Table`]: one task, one netlink socket that hears changes and asks.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tracing::{debug, warn};

use super::table::{Ask, Route, Table};
use super::{Link, NetError, NetEvent, messages};
use crate::state::Path;

/// How often stale entries are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Ticks between two readings of all routes and neighbours, in case a change was not heard of.
const TICKS_TO_RESYNC: u32 = 20;
/// Events go to the daemon's loop; when it is behind, the task waits and the kernel's socket buffers.
const EVENTS: usize = 256;
/// A netlink request that has no answer by then is lost: an overrun may have taken it.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Command {
    Targets(Vec<IpAddr>),
    Doubted(HashSet<IpAddr>),
}

/// What the daemon tells the watcher. Sending never waits: the daemon must not wait for the watcher, which may be
/// waiting for it. There are one or two commands for each change of config or health, so the queue stays short.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::UnboundedSender<Command>);

impl Commands {
    /// Makes these the addresses whose MACs are kept fresh.
    pub fn targets(&self, addresses: Vec<IpAddr>) {
        self.send(Command::Targets(addresses));
    }

    /// Makes these the addresses whose health check fails.
    pub fn doubted(&self, addresses: HashSet<IpAddr>) {
        self.send(Command::Doubted(addresses));
    }

    fn send(&self, command: Command) {
        if self.0.send(command).is_err() {
            warn!("the neighbour watcher has ended; MACs stay as they are");
        }
    }
}

/// Starts watching, in the network namespace of the calling thread, with the interfaces of these names as the
/// director's own. It ends when the receiver is dropped.
///
/// # Errors
/// If there is no netlink.
pub fn watch(interfaces: Vec<String>) -> Result<(Commands, mpsc::Receiver<NetEvent>), NetError> {
    let (connection, _, heard) = new_multicast_connection(&[MulticastGroup::Link, MulticastGroup::Neigh])?;
    tokio::spawn(connection);
    // Requests have a socket of their own, or a burst of news could push an answer out of the buffer.
    let (connection, handle, _) = new_connection()?;
    tokio::spawn(connection);
    let (command_sender, commands) = mpsc::unbounded_channel();
    let (events, event_receiver) = mpsc::channel(EVENTS);
    let watcher = Watcher { handle, interfaces, table: Table::default(), events };
    tokio::spawn(watcher.run(commands, heard));
    Ok((Commands(command_sender), event_receiver))
}

struct Watcher {
    handle: Handle,
    interfaces: Vec<String>,
    table: Table,
    events: mpsc::Sender<NetEvent>,
}

type Heard<S> = (rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>, S);

impl Watcher {
    async fn run<S>(mut self, mut commands: mpsc::UnboundedReceiver<Command>, heard: impl StreamExt<Item = Heard<S>>) {
        let mut heard = std::pin::pin!(heard);
        let mut ticks = interval(TICK);
        let mut until_resync = TICKS_TO_RESYNC;
        self.resync_links().await;
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
                        self.resync().await;
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
                    self.resync_addresses(new).await;
                }
            }
            Command::Doubted(addresses) => self.table.handle_doubted(&addresses),
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
                let own =
                    messages::link(&message).filter(|link| self.interfaces.contains(&link.name) || link.vlan.is_some());
                if own.is_some() && self.resync_links().await {
                    // What was reached by an interface that has another index now is reached another way.
                    self.resync_addresses(self.table.addresses()).await;
                }
            }
            NetlinkPayload::Overrun(_) => self.resync().await,
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

    /// Reads everything, in case something was not heard of.
    async fn resync(&mut self) {
        self.resync_links().await;
        self.resync_addresses(self.table.addresses()).await;
    }

    /// Reads our own interfaces, and says how they are.
    /// Whether one came, or has another index.
    async fn resync_links(&mut self) -> bool {
        let Some(mut all) = patient("interfaces", messages::links(&self.handle)).await else { return false };
        let vlans: Vec<Link> = all.extract_if(.., |link| !self.interfaces.contains(&link.name)).collect();
        let by = |interface, vlan| Path::By { interface, vlan };
        let mut own: BTreeMap<u32, Path> = all.iter().map(|link| (link.index, by(link.index, 0))).collect();
        let on_ours = vlans.into_iter().filter_map(|link| Some((link.index, link.vlan?)));
        let on_ours: Vec<_> = on_ours.filter(|(_, (parent, _))| own.contains_key(parent)).collect();
        own.extend(on_ours.iter().map(|(index, (parent, id))| (*index, by(*parent, *id))));
        let changed = self.table.handle_own(own);
        self.publish(NetEvent::Vlans(!on_ours.is_empty())).await;
        for link in all {
            self.publish(NetEvent::Link(link)).await;
        }
        changed
    }

    /// Reads the routes of these addresses, and all neighbours.
    async fn resync_addresses(&mut self, addresses: Vec<IpAddr>) {
        for address in addresses {
            // An address without a route is an error of the request.
            let route = timeout(PATIENCE, messages::route(&self.handle, address)).await;
            let Ok(route) = route.map(|route| route.unwrap_or(Route::None)) else { continue };
            if let Some(news) = self.table.handle_route(address, route) {
                explain(address, news);
                if let Some(path) = self.table.path(news) {
                    self.publish(NetEvent::Path { address, path }).await;
                }
            }
        }
        for entry in patient("neighbours", messages::neighbours(&self.handle)).await.unwrap_or_default() {
            self.handle_entry(&entry).await;
        }
    }

    async fn ask(&mut self) {
        for Ask { interface, address, forget } in self.table.poll_asks(Instant::now()) {
            if forget {
                patient("forgetting", messages::forget(&self.handle, interface, address)).await;
            }
            patient("asking", messages::ask(&self.handle, interface, address)).await;
        }
    }
}

/// `None` after a complaint; what is asked here is asked again in a while.
async fn patient<T>(what: &str, request: impl Future<Output = Result<T, rtnetlink::Error>>) -> Option<T> {
    match timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            debug!(what, %error, "netlink refuses");
            None
        }
        Err(_) => {
            warn!(what, "netlink does not answer; trying again in a few seconds");
            None
        }
    }
}

fn explain(address: IpAddr, route: Route) {
    match route {
        Route::Link(interface) => debug!(%address, interface, "found on a link"),
        Route::Elsewhere(interface) => {
            warn!(%address, interface, "is reached by an interface that is not in director.interfaces, so nothing can be sent to it");
        }
        Route::Gateway => {
            warn!(%address, "is behind a router; direct server return needs it on the director's segment")
        }
        Route::Local => debug!(%address, "is this machine"),
        Route::None => warn!(%address, "has no route; give the director an address in its network"),
    }
}
