//! How the connections to the other directors do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::State;

/// How the connection to another director does, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeeringStatus {
    /// Its address.
    pub peer: IpAddr,
    /// What it calls itself; `None`: it has never been heard.
    pub name: Option<String>,
    /// Its version of xdirector.
    pub version: Option<String>,
    /// For how long this director has been able to tell it something; `None`: it is not connected.
    pub connected: Option<Duration>,
    /// For how long it has been able to tell this director something.
    pub heard: Option<Duration>,
    /// Pins told to it.
    pub pins_sent: u64,
    /// Pins that it has told.
    pub pins_received: u64,
    /// Those among them that could not be used, because seed or number of pins differ.
    pub pins_refused: u64,
    /// Why it is not connected, or was not the last time.
    pub last_error: Option<String>,
    /// Whether it has as many pins (`limits.pins`).
    pub same_pins: Option<bool>,
    /// Whether it has the same hash seed.
    pub same_seed: Option<bool>,
    /// Whether its rings are made of the same: services, real servers, weights, sizes.
    pub same_rings: Option<bool>,
}

/// What is known of one.
#[derive(Debug, Default)]
struct Peer {
    state: Option<State>,
    connected: Option<Instant>,
    /// Since when its own connection is there, and which one it is.
    heard: Option<(Instant, u64)>,
    pins_sent: u64,
    pins_received: u64,
    pins_refused: u64,
    last_error: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Board(Mutex<BTreeMap<IpAddr, Peer>>);

/// Whether pins mean the same on both.
pub(super) fn understand(a: &State, b: &State) -> bool {
    a.seed == b.seed && a.pins == b.pins
}

impl Board {
    pub fn new(peers: &[IpAddr]) -> Self {
        Self(Mutex::new(peers.iter().map(|peer| (*peer, Peer::default())).collect()))
    }

    /// Nothing that holds it can panic half way.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T: Default>(&self, peer: IpAddr, use_it: impl FnOnce(&mut Peer) -> T) -> T {
        self.lock().get_mut(&peer).map(use_it).unwrap_or_default()
    }

    pub fn is_connected(&self, peer: IpAddr) -> bool {
        self.with(peer, |peer| peer.connected.is_some())
    }

    /// Whether it is connected, and pins mean there what they mean here.
    pub fn understands(&self, peer: IpAddr, own: &State) -> bool {
        let same = |peer: &Peer| peer.state.as_ref().is_some_and(|state| understand(state, own));
        self.with(peer, |peer| peer.connected.is_some() && same(peer))
    }

    /// It says this of itself; says whether that is news.
    pub fn note_state(&self, peer: IpAddr, state: &State) -> bool {
        self.with(peer, |peer| peer.state.replace(state.clone()).as_ref() != Some(state))
    }

    /// Our connection to it is there.
    pub fn note_connected(&self, peer: IpAddr) {
        self.with(peer, |peer| peer.connected = Some(Instant::now()));
    }

    /// Our connection is not there, or has ended; says whether the same was known already.
    pub fn note_lost(&self, peer: IpAddr, error: &str) -> bool {
        self.with(peer, |peer| {
            let was_connected = peer.connected.take().is_some();
            let known = peer.last_error.as_deref() == Some(error);
            peer.last_error = Some(error.to_owned());
            known && !was_connected
        })
    }

    /// Its connection to us, the one of this number, is there.
    pub fn note_heard(&self, peer: IpAddr, number: u64) {
        self.with(peer, |peer| peer.heard = Some((Instant::now(), number)));
    }

    /// Whether that one is the newest.
    pub fn hears_by(&self, peer: IpAddr, number: u64) -> bool {
        self.with(peer, |peer| peer.heard.is_some_and(|(_, current)| current == number))
    }

    /// That one is there no more.
    pub fn note_unheard(&self, peer: IpAddr, number: u64) {
        self.with(peer, |peer| peer.heard = peer.heard.filter(|(_, current)| *current != number));
    }

    pub fn count_sent(&self, peer: IpAddr, pins: usize) {
        self.with(peer, |peer| peer.pins_sent += pins as u64);
    }

    /// Counts pins that it has told; says whether they are of use.
    pub fn count_received(&self, peer: IpAddr, pins: usize, own: &State) -> bool {
        self.with(peer, |peer| {
            let useful = peer.state.as_ref().is_some_and(|state| understand(state, own));
            peer.pins_received += pins as u64;
            peer.pins_refused += if useful { 0 } else { pins as u64 };
            useful
        })
    }

    pub fn status(&self, own: &State) -> Vec<PeeringStatus> {
        let one = |(address, peer): (&IpAddr, &Peer)| {
            let Peer { state, connected, heard, pins_sent, pins_received, pins_refused, last_error } = peer;
            let of = |of: fn(&State) -> u64| state.as_ref().map(|state| of(state) == of(own));
            PeeringStatus {
                peer: *address,
                name: state.as_ref().map(|state| state.name.clone()),
                version: state.as_ref().map(|state| state.version.clone()),
                connected: connected.map(|since| since.elapsed()),
                heard: heard.map(|(since, _)| since.elapsed()),
                pins_sent: *pins_sent,
                pins_received: *pins_received,
                pins_refused: *pins_refused,
                last_error: last_error.clone(),
                same_pins: of(|state| state.pins.into()),
                same_seed: of(|state| state.seed),
                same_rings: of(|state| state.rings),
            }
        };
        self.lock().iter().map(one).collect()
    }
}
