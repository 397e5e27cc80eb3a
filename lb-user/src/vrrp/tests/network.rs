//! Several machines over a network that delays, loses and falls apart, in virtual time. What they say goes over it as
//! bytes.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use super::machines::*;
use crate::vrrp::machine::{ANSWER_GAP, Anomaly, Machine, Output, Parting, Reason, Settings, State};
use crate::vrrp::packet::{Endpoints, Envelope, GROUP_V4, LEAVING, TTL, decode};

/// A router: a machine, its caller, and what came of it.
pub struct Router {
    pub machine: Machine,
    address: Ipv4Addr,
    /// Arrived while the process was frozen.
    unread: Vec<Datagram>,
    is_frozen: bool,
    /// Whether it answers for the vips.
    pub holds: bool,
    pub announced: Vec<Instant>,
    pub released: Option<Instant>,
    /// When it sent an advert last, and of what priority.
    sent: Option<(Instant, u8)>,
    /// All state changes, and when.
    pub changes: Vec<(Instant, State)>,
}

impl Router {
    /// Its rank among masters.
    pub fn rank(&self) -> (u8, Ipv4Addr) {
        (self.machine.priority().get(), self.address)
    }
}

#[derive(Clone)]
struct Datagram {
    due: Instant,
    to: usize,
    from: usize,
    bytes: Vec<u8>,
}

/// How well the network works.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest that a datagram takes.
    pub delay: Duration,
    /// How many of 100 are lost.
    pub loss: u64,
}

/// All of it.
pub struct Network {
    pub now: Instant,
    pub routers: Vec<Router>,
    pub weather: Weather,
    /// Which part each is in; those in the same hear each other.
    pub parts: Vec<u8>,
    in_flight: Vec<Datagram>,
    random: u64,
    /// Since when these two are both masters although one has heard of the other.
    rivals: Vec<(usize, usize, Instant)>,
    /// Who gave way to whom, and when: the winner has yet to announce itself.
    owed: Vec<(usize, usize, Instant)>,
}

impl Network {
    /// Routers of these settings, at addresses 192.168.81.1 and so on. `seed` is for delays and losses.
    pub fn new(settings: Vec<Settings>, weather: Weather, seed: u64) -> Self {
        let router = |(index, settings): (usize, Settings)| {
            let address = Ipv4Addr::new(192, 168, 81, index as u8 + 1);
            Router {
                machine: Machine::new(Settings { source: IpAddr::V4(address), ..settings }),
                address,
                unread: vec![],
                is_frozen: false,
                holds: false,
                announced: vec![],
                released: None,
                sent: None,
                changes: vec![],
            }
        };
        let parts = vec![0; settings.len()];
        let routers = settings.into_iter().enumerate().map(router).collect();
        let now = millis(0);
        Self { now, routers, weather, parts, in_flight: vec![], random: seed, rivals: vec![], owed: vec![] }
    }

    /// Gives one router an input.
    pub fn tell(&mut self, index: usize, input: impl FnOnce(&mut Machine, Instant)) {
        let before = self.routers[index].machine.state();
        input(&mut self.routers[index].machine, self.now);
        self.carry_out(index, before);
    }

    /// Stops the process of a router; datagrams wait for it.
    pub fn freeze(&mut self, index: usize) {
        self.routers[index].is_frozen = true;
        self.check_rivals();
        self.check_winners();
    }

    /// Whether its process is stopped.
    pub fn is_frozen(&self, index: usize) -> bool {
        self.routers[index].is_frozen
    }

    /// Lets it go on: first it reads what has arrived, as a caller should.
    pub fn thaw(&mut self, index: usize) {
        if std::mem::take(&mut self.routers[index].is_frozen) {
            for datagram in std::mem::take(&mut self.routers[index].unread) {
                self.deliver(&datagram);
            }
            self.tell(index, Machine::handle_timeout);
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let awake = self.routers.iter().enumerate().filter(|(_, router)| !router.is_frozen);
            let timer = awake.filter_map(|(index, router)| Some((router.machine.deadline()?, index))).min();
            let arrival = self.in_flight.iter().enumerate().map(|(index, datagram)| (datagram.due, index)).min();
            match (timer, arrival) {
                (timer, Some((due, index))) if due <= end && timer.is_none_or(|(timer, _)| due <= timer) => {
                    self.now = due;
                    let datagram = self.in_flight.remove(index);
                    self.deliver(&datagram);
                }
                (Some((due, index)), _) if due <= end => {
                    self.now = self.now.max(due);
                    self.tell(index, Machine::handle_timeout);
                    let deadline = self.routers[index].machine.deadline();
                    assert!(deadline.is_none_or(|deadline| deadline > self.now), "router {index} spins");
                }
                _ => break,
            }
            self.check_rivals();
            self.check_winners();
        }
        self.now = end;
    }

    /// The routers in this state.
    pub fn in_state(&self, state: State) -> Vec<usize> {
        (0..self.routers.len()).filter(|index| self.routers[*index].machine.state() == state).collect()
    }

    fn carry_out(&mut self, index: usize, before: State) {
        let now = self.now;
        let (mut state, mut said) = (before, vec![]);
        while let Some(output) = self.routers[index].machine.poll_output() {
            let router = &mut self.routers[index];
            match output {
                Output::SendAdvert { priority } => {
                    router.sent = Some((now, priority));
                    said.push(priority);
                    self.send(index, priority);
                }
                Output::TakeAddresses => router.holds = true,
                Output::ReleaseAddresses => {
                    assert!(router.holds, "router {index} releases what it does not hold");
                    (router.holds, router.released) = (false, Some(now));
                }
                Output::Announce { .. } => {
                    assert!(router.holds, "router {index} announces what it does not hold");
                    router.announced.push(now);
                }
                Output::StateChanged { from, to, reason } => {
                    assert_eq!(from, state, "router {index}");
                    state = to;
                    router.changes.push((now, to));
                    if let Reason::HigherPriority(_, winner) | Reason::HigherAddress(winner) = reason {
                        let winner = self.routers.iter().position(|router| IpAddr::V4(router.address) == winner);
                        self.owed.push((winner.unwrap(), index, now));
                    }
                }
                Output::Anomaly(anomaly) => {
                    let expected =
                        [Anomaly::SecondMaster, Anomaly::LateWake, Anomaly::SecondOwner, Anomaly::OtherInterval];
                    assert!(expected.contains(&anomaly), "{anomaly:?}");
                }
            }
        }
        let router = &self.routers[index];
        assert_eq!(state, router.machine.state(), "router {index} did not say that it changed");
        match (before, state) {
            (_, State::Master) => assert!(router.holds),
            // One last word, of the priority that lost, or that it leaves.
            (State::Master, _) => assert!(said.len() <= 1, "{said:?}"),
            _ => assert!(said.is_empty(), "router {index} says {said:?} as {before:?}"),
        }
    }

    fn send(&mut self, from: usize, priority: u8) {
        let endpoints = Endpoints::V4 { source: self.routers[from].address, destination: GROUP_V4 };
        let mut bytes = vec![];
        self.routers[from].machine.advert(priority).encode(&endpoints, &mut bytes).unwrap();
        for to in (0..self.routers.len()).filter(|to| *to != from) {
            let delay = self.weather.delay.as_micros() as u64;
            let due = self.now + Duration::from_micros(self.draw(delay) + 1);
            if self.parts[to] == self.parts[from] && self.draw(100) >= self.weather.loss {
                self.in_flight.push(Datagram { due, to, from, bytes: bytes.clone() });
            }
        }
    }

    fn deliver(&mut self, datagram: &Datagram) {
        let (to, from) = (datagram.to, datagram.from);
        if self.routers[to].is_frozen {
            self.routers[to].unread.push(datagram.clone());
            return;
        }
        let source = self.routers[from].address;
        let envelope = Envelope { endpoints: Endpoints::V4 { source, destination: GROUP_V4 }, ttl: TTL };
        let advert = decode(&datagram.bytes, &envelope).unwrap();
        let both = self.are_masters(to, from) && !self.routers[to].machine.has_overslept(self.now);
        self.tell(to, |machine, now| machine.handle_advert(&advert, IpAddr::V4(source), now));
        if !both || advert.priority == LEAVING {
            return;
        }
        // Now one of them knows. If it is the one that has to give way, it has.
        let outranks = (advert.priority, source) > self.routers[to].rank();
        assert_eq!(self.are_masters(to, from), !outranks, "router {to} heard {from}");
        self.rivals.push((to.min(from), to.max(from), self.now));
    }

    fn are_masters(&self, one: usize, other: usize) -> bool {
        [one, other].iter().all(|index| self.routers[*index].machine.state() == State::Master)
    }

    /// Two that have heard of each other do not both stay masters, as long as they can hear each other.
    fn check_rivals(&mut self) {
        let mut rivals = std::mem::take(&mut self.rivals);
        rivals.retain(|(one, other, _)| self.are_masters(*one, *other) && self.hear_each_other(*one, *other));
        for (one, other, since) in &rivals {
            let limit = ANSWER_GAP + 2 * self.weather.delay;
            assert!(self.now <= *since + limit, "{one} and {other} are both masters since {:?}", self.now - *since);
        }
        self.rivals = rivals;
    }

    /// Whoever gave way had the last word only for a moment.
    fn check_winners(&mut self) {
        let mut owed = std::mem::take(&mut self.owed);
        owed.retain(|(winner, loser, since)| {
            let router = &self.routers[*winner];
            let has = router.announced.last().is_some_and(|when| when > since);
            !has && router.machine.state() == State::Master && self.hear_each_other(*winner, *loser)
        });
        for (winner, loser, since) in &owed {
            assert!(self.now <= *since + Duration::from_millis(20), "{loser} had the last word against {winner}");
        }
        self.owed = owed;
    }

    /// Whether what one says is sure to reach the other.
    fn hear_each_other(&self, one: usize, other: usize) -> bool {
        let awake = [one, other].iter().all(|index| !self.routers[*index].is_frozen);
        awake && self.parts[one] == self.parts[other] && self.weather.loss == 0
    }

    /// Xorshift, so that a seed alone says what happens.
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.max(1);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % below.max(1)
    }
}

const CALM: Weather = Weather { delay: Duration::from_millis(3), loss: 0 };

fn routers(priorities: &[u8]) -> Vec<Settings> {
    let of = |priority: &u8| Settings { priority: NonZeroU8::new(*priority).unwrap(), ..settings() };
    priorities.iter().map(of).collect()
}

fn started(priorities: &[u8], weather: Weather, seed: u64) -> Network {
    let mut network = Network::new(routers(priorities), weather, seed);
    (0..priorities.len()).for_each(|index| network.tell(index, Machine::handle_start));
    network.run(10 * SECOND);
    network
}

#[test]
fn the_best_becomes_master_and_the_others_listen() {
    for (priorities, best) in [(&[100, 90][..], 0), (&[90, 100], 1), (&[100, 100], 1), (&[50, 255, 100], 1), (&[7], 0)]
    {
        let network = started(priorities, CALM, 1);
        assert_eq!(network.in_state(State::Master), [best], "{priorities:?}");
        assert_eq!(network.in_state(State::Backup).len(), priorities.len() - 1);
    }
}

#[test]
fn a_master_that_stops_is_followed_after_a_skew_and_one_that_dies_after_a_master_down_interval() {
    let mut network = started(&[100, 90, 80], CALM, 1);
    let stopped = network.now;
    network.tell(0, |machine, now| machine.handle_shutdown(Parting::AtOnce, now));
    network.run(2 * SECOND);
    assert_eq!(network.in_state(State::Master), [1]);
    let took = network.routers[1].changes.last().unwrap().0 - stopped;
    assert!((648..653).contains(&took.as_millis()), "{took:?}");

    network.freeze(1);
    let last = network.routers[1].sent.unwrap().0;
    network.run(4 * SECOND);
    assert_eq!(network.routers[2].machine.state(), State::Master);
    let took = network.routers[2].changes.last().unwrap().0 - last;
    assert!((3687..3692).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_frozen_master_wakes_up_silent_and_leaves_the_vips_to_the_one_that_took_over() {
    for read_first in [true, false] {
        let mut network = started(&[100, 90], CALM, 1);
        network.freeze(0);
        network.run(6 * SECOND);
        let lease = network.routers[0].machine.leads_until().unwrap();
        assert!(lease < network.routers[1].changes.last().unwrap().0, "its lease ran out before the other took over");
        if !read_first {
            network.routers[0].unread.clear();
        }
        let (woke, before) = (network.now, network.routers[0].sent);
        network.thaw(0);
        assert_eq!(network.routers[0].machine.state(), State::Backup);
        assert!(!network.routers[0].holds);
        network.run(Duration::from_millis(3609));
        assert_eq!(network.routers[0].sent, before, "it has to listen first");
        network.run(2 * SECOND);
        assert_eq!(network.in_state(State::Master), [0], "then it takes over again");
        assert!(network.routers[0].announced.last() > Some(&woke));
    }
}

/// After each heal, whoever stays master must be the last to announce, or switches send clients to the loser: within 20 ms.
#[test]
fn after_a_heal_the_winner_announces_after_the_loser_s_last_word() {
    for seed in 1..=400 {
        let priorities: &[u8] = [&[100, 90][..], &[90, 100], &[100, 100], &[100, 90, 80]][seed as usize % 4];
        let mut network = started(priorities, CALM, seed);
        let winner = network.in_state(State::Master)[0];
        network.parts = (0..priorities.len() as u8).collect();
        network.run(Duration::from_millis(8000 + network_phase(seed)));
        assert_eq!(network.in_state(State::Master).len(), priorities.len(), "seed {seed}: split");
        network.parts.fill(0);
        network.run(2 * SECOND);
        assert_eq!(network.in_state(State::Master), [winner], "seed {seed}: healed");
        for (index, router) in network.routers.iter().enumerate().filter(|(index, _)| *index != winner) {
            let released = router.released.unwrap();
            assert!(!router.holds && router.announced.last().unwrap() <= &released);
            let in_time = released + Duration::from_micros(1)..=released + Duration::from_millis(20);
            let answered = network.routers[winner].announced.iter().any(|when| in_time.contains(when));
            assert!(answered, "seed {seed}: router {index} had the last word");
        }
    }
}

/// Where in the adverts' rhythm the heal falls, in milliseconds.
const fn network_phase(seed: u64) -> u64 {
    seed * 7919 % 1000
}
