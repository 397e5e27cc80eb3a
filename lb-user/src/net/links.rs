//! Whether interfaces have their link, by name, as it changes.

use std::collections::HashMap;

use futures_util::StreamExt;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::mpsc;
use tracing::warn;

use super::{Link, NetError, messages};

/// Changes that the receiver has not looked at; when it is behind, the task waits and the kernel's socket buffers.
const EVENTS: usize = 64;

/// What is heard of interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// All that there are, by name, and whether each is up and has a carrier. Comes first, and whenever something may not
    /// have been heard of.
    All(HashMap<String, bool>),
    /// One is otherwise now; one that is gone is down.
    One {
        /// Its name.
        name: String,
        /// Whether it is up and has a carrier.
        up: bool,
    },
}

/// Listens for changes of interfaces, in the network namespace of the calling thread. The task ends when the receiver is
/// dropped.
///
/// # Errors
/// If there is no netlink.
pub fn watch_links() -> Result<mpsc::Receiver<LinkNews>, NetError> {
    let (connection, _, heard) = new_multicast_connection(&[MulticastGroup::Link])?;
    tokio::spawn(connection);
    // Requests have a socket of their own, or a burst of news could push an answer out of the buffer.
    let (connection, handle, _) = new_connection()?;
    tokio::spawn(connection);
    let (news, receiver) = mpsc::channel(EVENTS);
    let listener = Listener { handle, roster: Roster::default(), news };
    tokio::spawn(listener.run(heard));
    Ok(receiver)
}

struct Listener {
    handle: rtnetlink::Handle,
    roster: Roster,
    news: mpsc::Sender<LinkNews>,
}

type Heard<S> = (rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>, S);

impl Listener {
    async fn run<S>(mut self, heard: impl StreamExt<Item = Heard<S>>) {
        let mut heard = std::pin::pin!(heard);
        let mut going_on = self.read_all().await;
        while going_on {
            let message = tokio::select! {
                message = heard.next() => message,
                () = self.news.closed() => return,
            };
            going_on = match message {
                Some((message, _)) => self.handle(message.payload).await,
                None => {
                    warn!("the netlink socket has closed; links stay as they are");
                    false
                }
            };
        }
    }

    /// Whether anybody still listens.
    async fn handle(&mut self, payload: NetlinkPayload<RouteNetlinkMessage>) -> bool {
        let news = match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                messages::link(&message).map(|link| self.roster.handle_link(link)).unwrap_or_default()
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
                self.roster.handle_gone(message.header.index)
            }
            NetlinkPayload::Overrun(_) => return self.read_all().await,
            _ => Vec::new(),
        };
        for (name, up) in news {
            if self.news.send(LinkNews::One { name, up }).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn read_all(&mut self) -> bool {
        match messages::links(&self.handle).await {
            Ok(links) => self.news.send(LinkNews::All(self.roster.handle_all(links))).await.is_ok(),
            Err(error) => {
                warn!(%error, "the interfaces cannot be read; links stay as they are until they change");
                true
            }
        }
    }
}

/// All interfaces by index, because a name can move.
#[derive(Debug, Default)]
struct Roster(HashMap<u32, (String, bool)>);

impl Roster {
    fn handle_all(&mut self, links: Vec<Link>) -> HashMap<String, bool> {
        self.0 = links.into_iter().map(|link| (link.index, (link.name, link.up))).collect();
        self.0.values().cloned().collect()
    }

    /// Says what is otherwise than before.
    fn handle_link(&mut self, link: Link) -> Vec<(String, bool)> {
        let now = (link.name, link.up);
        match self.0.insert(link.index, now.clone()) {
            Some(former) if former == now => Vec::new(),
            Some((name, _)) if name != now.0 => vec![(name, false), now],
            _ => vec![now],
        }
    }

    fn handle_gone(&mut self, index: u32) -> Vec<(String, bool)> {
        self.0.remove(&index).map(|(name, _)| (name, false)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, up: bool) -> Link {
        Link { name: name.into(), index, mac: None, up, mtu: 1500, vlan: None }
    }

    #[test]
    fn only_what_is_otherwise_is_said_and_names_may_move() {
        let mut roster = Roster::default();
        let all = roster.handle_all(vec![link(1, "lo", true), link(2, "eth0", true)]);
        assert_eq!(all, HashMap::from([("lo".into(), true), ("eth0".into(), true)]));
        let said = |news: &[(&str, bool)]| news.iter().map(|(name, up)| ((*name).into(), *up)).collect::<Vec<_>>();
        assert_eq!(roster.handle_link(link(2, "eth0", true)), said(&[]));
        assert_eq!(roster.handle_link(link(2, "eth0", false)), said(&[("eth0", false)]));
        assert_eq!(roster.handle_link(link(3, "eth1", true)), said(&[("eth1", true)]));
        assert_eq!(roster.handle_link(link(3, "wan", true)), said(&[("eth1", false), ("wan", true)]));
        assert_eq!(roster.handle_gone(3), said(&[("wan", false)]));
        assert_eq!(roster.handle_gone(3), said(&[]));
    }
}
