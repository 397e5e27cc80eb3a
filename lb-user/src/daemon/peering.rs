//! What the daemon tells other directors, and what it does about what they tell.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info};

use super::{Daemon, now};
use crate::config;
use crate::health::{self, Opinions, SecondOpinion};
use crate::peering::{Asker, Event, Opinion, Peering, State, Verdict, stands_for};
use crate::state::Batch;

/// How often the pins are looked at for news.
const LOOK: Duration = Duration::from_millis(250);
/// The same while some director has yet to be told everything.
const HURRY: Duration = Duration::from_millis(20);
/// So long may the last news take at the end.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Pins in one piece of what a director is told that knows nothing.
const PIECE: usize = 4096;
/// Batches that such a piece makes at most.
const PIECE_BATCHES: usize = 8;

/// The channel to the other directors, if the file has one, and how far each of them is.
#[derive(Debug)]
pub(super) struct Peers {
    channel: Option<Channel>,
    /// When the pins are looked at next.
    look: Instant,
}

#[derive(Debug)]
struct Channel {
    peering: Peering,
    config: config::Peering,
    peers: Vec<IpAddr>,
    /// Those that have to be told everything, and from which pin on.
    behind: HashMap<IpAddr, usize>,
}

/// What there is to do for the channel.
#[derive(Debug)]
pub(super) enum Turn {
    /// Another director wants something.
    Event(Event),
    /// The pins are to be looked at.
    Look,
}

impl Default for Peers {
    fn default() -> Self {
        Self { channel: None, look: Instant::now() }
    }
}

impl Peers {
    /// What is to be done next; never, without a channel. Loses nothing if it is dropped half way.
    pub async fn turn(&mut self) -> Turn {
        let Some(channel) = &mut self.channel else { return std::future::pending().await };
        tokio::select! {
            event = channel.peering.event() => Turn::Event(event),
            () = sleep_until(self.look) => Turn::Look,
        }
    }

    /// Returns when what the others were told has left, or soon.
    pub async fn said(&self) {
        if let Some(channel) = &self.channel {
            // Who does not take it in that time learns of it from whoever has the vips then.
            let _ = timeout(LAST_WORDS, channel.peering.said()).await;
        }
    }

    /// The channel.
    pub fn peering(&self) -> Option<&Peering> {
        self.channel.as_ref().map(|channel| &channel.peering)
    }
}

impl Channel {
    /// Tells all of news. Who does not take it has to be told everything.
    fn tell(&mut self, batch: &Arc<Batch>) {
        for peer in &self.peers {
            if !self.peering.tell(*peer, batch) {
                self.behind.insert(*peer, 0);
            }
        }
    }

    /// Those of whom nobody knows any more what they have been told.
    fn note_absent(&mut self) {
        let absent = self.peers.iter().filter(|peer| !self.peering.listens(**peer));
        self.behind.extend(absent.map(|peer| (*peer, 0)));
    }

    /// Those that are there, have to be told everything, and have room for a piece of it; and from where on.
    fn next_behind(&self) -> Option<(IpAddr, usize)> {
        let ready = |peer: &IpAddr| self.peering.listens(*peer) && self.peering.room(*peer) >= PIECE_BATCHES;
        self.behind.iter().map(|(peer, from)| (*peer, *from)).find(|(peer, _)| ready(peer))
    }
}

/// Those that are asked before a real server is taken out.
#[derive(Debug)]
struct OtherDirectors(Asker);

impl SecondOpinion for OtherDirectors {
    fn ask(&self, pool: &str, address: IpAddr, limit: Duration) -> Opinions {
        let (asker, pool) = (self.0.clone(), pool.to_owned());
        Box::pin(async move {
            let opinions = asker.opinion(&pool, address, Instant::now() + limit).await;
            let verdict = |opinion: Opinion| match opinion.verdict {
                Verdict::Up => health::Opinion::Up,
                Verdict::Down => health::Opinion::Down,
                Verdict::Unknown | Verdict::Unchecked => health::Opinion::Unknown,
            };
            opinions.into_iter().map(|(_, opinion)| verdict(opinion)).collect()
        })
    }
}

impl Daemon {
    /// Makes the channel what the config says; one that stays the same is not touched.
    pub(super) fn apply_peering(&mut self) {
        let wanted = self.config.peering.clone().map(|config| (config, self.config.director.peers.clone()));
        let same = |channel: &Channel, (config, peers): &(config::Peering, Vec<IpAddr>)| {
            channel.config == *config && channel.peers == *peers
        };
        match (&self.peers.channel, wanted) {
            (Some(channel), Some(wanted)) if same(channel, &wanted) => {}
            (None, None) => {}
            (_, None) => {
                info!("other directors are not told anything any more");
                self.peers.channel = None;
            }
            (_, Some((config, peers))) => {
                // The port is free before it is taken again, or is tried until it is.
                self.peers.channel = None;
                let peering = Peering::start(&config, &peers, self.own_state());
                self.peers.channel = Some(Channel { peering, config, peers, behind: HashMap::new() });
            }
        }
        self.peers.look = Instant::now();
        let second =
            self.peers.peering().map(|peering| Arc::new(OtherDirectors(peering.asker())) as Arc<dyn SecondOpinion>);
        self.engine.set_second_opinion(second);
    }

    /// What this director says of itself.
    fn own_state(&mut self) -> State {
        State {
            name: host_name(),
            version: env!("CARGO_PKG_VERSION").into(),
            pins: self.config.limits.pins,
            seed: stands_for(self.world.view.hash_seed),
            rings: self.reconciler.ring_makings(&self.kernel),
        }
    }

    /// Whether the maps have to be looked at.
    pub(super) fn handle_peering(&mut self, turn: Turn) -> bool {
        match turn {
            Turn::Look => {
                self.peers.look = Instant::now() + LOOK;
                self.tell_peers();
                false
            }
            Turn::Event(Event::Connected(peer)) => {
                if let Some(channel) = &mut self.peers.channel {
                    channel.behind.insert(peer, 0);
                }
                self.peers.look = Instant::now();
                false
            }
            Turn::Event(Event::Pins(peer, batch)) => self.hear(peer, &batch),
            Turn::Event(Event::Question { pool, address, reply }) => {
                // Whoever asked may have given up.
                let _ = reply.send(self.opinion(&pool, address));
                false
            }
        }
    }

    pub(super) fn tell_peers(&mut self) {
        if self.peers.peering().is_none() {
            return;
        }
        let own = self.own_state();
        let Some(channel) = &mut self.peers.channel else { return };
        channel.peering.introduce(own);
        channel.note_absent();
        if !channel.peering.has_listeners() || !self.reconciler.tracks() {
            return;
        }
        let now = match now() {
            Ok(now) => now,
            Err(error) => return error!("other directors are not told of the pins: {error:#}"),
        };
        for batch in self.reconciler.tell(&self.kernel, now) {
            channel.tell(&Arc::new(batch));
        }
        while let Some((peer, from)) = channel.next_behind() {
            let (batches, next) = self.reconciler.tell_all(&self.kernel, now, from, PIECE);
            if !batches.into_iter().all(|batch| channel.peering.tell(peer, &Arc::new(batch))) {
                // It has gone just now.
                break;
            }
            match next {
                Some(next) => channel.behind.insert(peer, next),
                None => channel.behind.remove(&peer),
            };
        }
        if channel.behind.keys().any(|peer| channel.peering.listens(*peer)) {
            self.peers.look = Instant::now() + HURRY;
        }
    }

    /// Whether packets have yet to be made to look at what was heard.
    fn hear(&mut self, peer: IpAddr, batch: &Batch) -> bool {
        let now = match now() {
            Ok(now) => now,
            Err(error) => {
                error!(%peer, "what the other director tells is not heard: {error:#}");
                return false;
            }
        };
        let (heard, write) = self.reconciler.hear(&self.kernel, batch, now);
        debug!(%peer, ?heard, "the other director told of pins");
        write
    }

    /// What this director thinks of a real server.
    fn opinion(&self, pool: &str, address: IpAddr) -> Opinion {
        let known = self.config.pools.iter().find(|other| other.name == pool);
        if !known.is_some_and(|pool| pool.reals.iter().any(|real| real.address == address)) {
            return Opinion { verdict: Verdict::Unknown, age: None };
        }
        // What its own check says, not what it was persuaded of: or two directors would keep a dead one up for ever.
        let verdict = match self.engine.opinion(pool, address) {
            health::Opinion::Unknown => Verdict::Unchecked,
            health::Opinion::Up => Verdict::Up,
            health::Opinion::Down => Verdict::Down,
        };
        Opinion { verdict, age: self.engine.last_probe(pool, address) }
    }
}

/// The kernel's name for this machine; "" if it does not say.
fn host_name() -> String {
    // Without it the others see an address all the same.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().chars().filter(|c| !c.is_control()).collect()
}
