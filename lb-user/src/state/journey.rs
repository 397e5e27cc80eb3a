//! Flows on their way through a world that changes, by the real pipeline over the real plans: the promise of tracking.
//!
//! A flow stays with its real server until that is declared dead, or the flow has been silent for the idle timeout.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb_common::abi::{Mac, Protocol, WAYS};
use lb_common::datapath::process;
use lb_common::reason::Reason;
use lb_common::ring::auto_size;
use lb_common::wire::Buffer;
use proptest::prelude::*;

use super::*;
use crate::config::{Affinity, Config, Director, Limits, OnEmpty, Pool, Real, Service, Tracking};
use crate::dataplane::{HostTables, Maps, Memory, WordMap};
use crate::reconcile::Reconciler;

const LIMITS: Limits = Limits { services: 5, reals: 40, ring_buckets: 60_000, pins: 8192, access_prefixes: 10 };
const OWN: Mac = Mac([2, 0, 0, 0, 0, 0xd1]);
const VIP: [u8; 4] = [10, 66, 0, 100];
const IDLE: u64 = 600;

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 66, 0, last).into()
}

/// A packet of one of the flows, which differ in port and, every few, in address.
fn packet(udp: bool, flow: u16, opens: bool) -> Vec<u8> {
    let mut frame = [OWN.0, [2, 0, 0, 0, 0, 0xc1]].concat();
    let protocol = if udp { 17 } else { 6 };
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, (flow % 7) as u8]);
    frame.extend(VIP);
    frame.extend(flow.to_be_bytes());
    frame.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, if opens { 2 } else { 16 }, 1, 0, 0, 0, 0, 0]);
    let sum: u32 = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}

/// Where a flow is, and when it was last seen.
#[derive(Clone, Copy, Debug)]
struct Flow {
    real: u8,
    seen: u64,
}

/// What of a journey's service and pool does not change.
#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    by_source: bool,
    /// Over UDP, and all tracked.
    udp: bool,
    /// Clients prefer zones, and the real servers are in zones.
    zones: bool,
    on_empty: OnEmpty,
}

struct World {
    /// Weights by the last byte of the address.
    reals: Vec<(u8, u32)>,
    ways: Ways,
    min_healthy: u32,
    view: View,
    maps: Memory,
    reconciler: Reconciler,
    now: u64,
    flows: HashMap<u16, Flow>,
    next: u16,
    packets: usize,
}

impl World {
    fn new(ways: Ways) -> Self {
        let macs = (1..=20).map(|last| (address(last), Mac([2, 0, 0, 0, 1, last]))).collect();
        let interfaces = vec![Interface { index: 2, mac: OWN, mtu: 1500 }];
        let mut world = Self {
            reals: vec![(1, 1), (2, 1), (3, 1), (4, 1)],
            ways,
            min_healthy: 1,
            view: View { hash_seed: 7, interfaces, macs, ..View::default() },
            maps: Memory::new(&LIMITS),
            reconciler: Reconciler::default(),
            now: 1000,
            flows: HashMap::new(),
            next: 0,
            packets: 0,
        };
        world.write();
        world
    }

    fn config(&self) -> Config {
        let director = Director { hash_seed: Some(7), ..Director::new(vec!["eth0".into()]) };
        let Ways { by_source, udp, zones, on_empty } = self.ways;
        let zone = |last: u8| ["a", "b"].get(usize::from(last) % 3).filter(|_| zones).map(|zone| (*zone).to_owned());
        let real = |&(last, weight): &(u8, u32)| {
            let tier = u8::from(last > 4 && last.is_multiple_of(4));
            Real { tier, zone: zone(last), ..Real::new(&last.to_string(), address(last), weight) }
        };
        let ring_size = auto_size(self.reals.iter().map(|(_, weight)| *weight));
        let pool = Pool::new("p", ring_size, self.reals.iter().map(real).collect());
        let pool = Pool { min_healthy: self.min_healthy, on_empty, ..pool };
        let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
        let service = Service::new("s", address(VIP[3]), 80, protocol, 0);
        let locality = [("10.0.0.0/30", "a"), ("10.0.0.4/31", "b")];
        let locality = locality.map(|(net, zone)| (net.parse().expect("a prefix"), zone.to_owned()));
        let locality = locality.into_iter().filter(|_| zones).collect();
        let tracking = if udp { Tracking::Full } else { Tracking::JustEnough };
        let affinity = if by_source { Affinity::Source { bits: 32 } } else { Affinity::Flow };
        let service = Service { idle_timeout: Duration::from_secs(IDLE), affinity, tracking, locality, ..service };
        Config::new(director, LIMITS, vec![pool], vec![service])
    }

    fn moment(&self) -> Moment {
        Moment::new(Duration::from_secs(self.now))
    }

    fn write(&mut self) {
        let (config, now) = (self.config(), self.moment());
        self.reconciler.reconcile(&config, &self.view, &mut self.maps, now).expect("it fits");
        self.forget_the_down();
    }

    /// Does the first so many of a thousand parts of the next change; then the daemon dies.
    fn crash(&mut self, parts: usize) {
        let (config, now) = (self.config(), self.moment());
        let access = self.maps.access_lists().expect("the twin does not fail");
        let (directory, holds) = (Directory::read(&self.maps), Holds::default());
        let (view, maps) = (&self.view, &self.maps);
        let wish = Wish { config: &config, view, maps, directory: &directory, access: &access, holds: &holds, now };
        let desired = Desired::new(&wish, &mut RingCache::default()).expect("it fits");
        let interfaces = desired.settings.interfaces;
        let plan = plan(&desired, &directory, &access, &interfaces, &self.maps);
        for step in &plan.steps[..plan.steps.len() * parts / 1000] {
            step.apply(&mut self.maps).expect("the twin does not fail");
        }
        self.reconciler = Reconciler::default();
    }

    fn sweep(&mut self) {
        let (config, now) = (self.config(), self.moment());
        self.reconciler.sweep(&config, &self.view, &mut self.maps, now).expect("it fits");
    }

    /// Sends packets of these flows; gives the last byte of the real server that each went to, 0 for nowhere.
    fn send(&mut self, flows: &[(u16, bool)]) -> Vec<u8> {
        let mut tables = HostTables::new(&self.maps, &LIMITS).expect("the twin does not fail");
        tables.now = self.moment().tick;
        let mut one = |&(flow, opens): &(u16, bool)| {
            let mut frame = packet(self.ways.udp, flow, opens);
            let reason = process(&mut Buffer::new(&mut frame, 0, 2), &mut tables).reason;
            if reason == Reason::Forwarded { frame[5] } else { 0 }
        };
        let went = flows.iter().map(&mut one).collect();
        tables.store_pins(&self.maps);
        self.packets += flows.len();
        went
    }

    fn open(&mut self, count: u16) {
        let flows: Vec<u16> = (self.next..self.next + count).collect();
        self.next += count;
        let went = self.send(&flows.iter().map(|flow| (*flow, true)).collect::<Vec<_>>());
        for (flow, real) in flows.into_iter().zip(went).filter(|(_, real)| *real != 0) {
            self.flows.insert(flow, Flow { real, seen: self.now });
        }
        self.forget_the_down();
    }

    /// Nothing is promised to flows of real servers that are down, as far as that is believed.
    fn forget_the_down(&mut self) {
        let held = self.view.held.contains("p");
        let believed = Directory::read(&self.maps).reals.into_values().map(|info| (info.address, info.health));
        let believed: HashMap<_, _> = believed.collect();
        let health = |last: u8| match believed.get(&octets(address(last))).filter(|_| held) {
            Some(health) => Health::from_number(*health),
            None => self.view.health_of("p", address(last)),
        };
        self.flows.retain(|_, flow| health(flow.real) != Health::Down);
    }

    fn order(&mut self, last: u8, order: Order) {
        self.view.orders.entry("p".into()).or_default().insert(address(last), order);
        if order.duty == Duty::Maintenance {
            self.flows.retain(|_, flow| flow.real != last);
        }
        self.write();
    }

    fn ask(&mut self, last: u8, asked: Asked) {
        self.view.asked.entry("p".into()).or_default().insert(address(last), asked);
    }

    /// Every flow that `speaks` sends a packet; says which has gone astray.
    fn speak(&mut self, speaks: impl Fn(u16) -> bool) -> Result<(), String> {
        let now = self.now;
        self.flows.retain(|_, flow| now - flow.seen < IDLE);
        let flows: Vec<u16> = self.flows.keys().copied().filter(|flow| speaks(*flow)).collect();
        let went = self.send(&flows.iter().map(|flow| (*flow, false)).collect::<Vec<_>>());
        for (number, real) in flows.into_iter().zip(went) {
            let flow = self.flows.get_mut(&number).expect("it was just there");
            if flow.real != real {
                return Err(format!("flow {number} of real {} went to {real} at {now}: {flow:?}", flow.real));
            }
            flow.seen = now;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Act {
    Open(u16),
    /// One flow in so many is silent.
    Speak(u16),
    Wait(u64),
    Sweep,
    Down(prop::sample::Index),
    Up,
    Weigh(prop::sample::Index, u32),
    Add(u8),
    Remove(prop::sample::Index),
    /// One that was down is back.
    UpAgain(prop::sample::Index),
    Order(prop::sample::Index, Order),
    Ask(prop::sample::Index, Asked),
    MinHealthy(u32),
    Hold,
    Release,
    NewDaemon,
    /// A change of weight that the daemon dies in, so far into it.
    Crash(prop::sample::Index, u32, usize),
    /// The same of what a check asks for.
    CrashAsked(prop::sample::Index, Asked, usize),
}

fn orders() -> impl Strategy<Value = Order> {
    let duty = prop_oneof![3 => Just(Duty::Serve), 2 => Just(Duty::Drain), 1 => Just(Duty::Maintenance)];
    (duty, prop::option::of(0u32..6)).prop_map(|(duty, weight)| Order { duty, weight })
}

fn asks() -> impl Strategy<Value = Asked> {
    let share = prop_oneof![Just(1000), 0u16..=1000].prop_map(Share::thousandths);
    (prop::option::of(0u32..6), share, prop::bool::weighted(0.1)).prop_map(|(weight, share, drain)| Asked {
        weight,
        share,
        drain,
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1u16..40).prop_map(Act::Open),
        5 => (1u16..6).prop_map(Act::Speak),
        3 => (1u64..400).prop_map(Act::Wait),
        3 => Just(Act::Sweep),
        2 => any::<prop::sample::Index>().prop_map(Act::Down),
        2 => Just(Act::Up),
        2 => (any::<prop::sample::Index>(), 0u32..4).prop_map(|(real, weight)| Act::Weigh(real, weight)),
        2 => (5u8..20).prop_map(Act::Add),
        2 => any::<prop::sample::Index>().prop_map(Act::Remove),
        1 => any::<prop::sample::Index>().prop_map(Act::UpAgain),
        3 => (any::<prop::sample::Index>(), orders()).prop_map(|(real, order)| Act::Order(real, order)),
        4 => (any::<prop::sample::Index>(), asks()).prop_map(|(real, asked)| Act::Ask(real, asked)),
        1 => (1u32..5).prop_map(Act::MinHealthy),
        1 => Just(Act::Hold),
        1 => Just(Act::Release),
        1 => Just(Act::NewDaemon),
        1 => (any::<prop::sample::Index>(), asks(), 0usize..1000).prop_map(|(real, asked, at)| Act::CrashAsked(real, asked, at)),
        1 => (any::<prop::sample::Index>(), 0u32..4, 0usize..1000).prop_map(|(real, weight, at)| Act::Crash(real, weight, at)),
    ];
    prop::collection::vec(act, 1..40)
}

fn go(world: &mut World, act: &Act) -> Result<(), String> {
    match act {
        Act::Open(count) => world.open(*count),
        Act::Speak(silent) => return world.speak(|flow| flow % silent != 0 || *silent == 1),
        Act::Wait(seconds) => world.now += seconds,
        Act::Sweep => world.sweep(),
        Act::Down(real) => {
            let (last, _) = *real.get(&world.reals);
            world.view.set_health("p", address(last), Health::Down);
            world.write();
        }
        Act::Up => {
            world.view.health.clear();
            world.write();
        }
        Act::Weigh(real, weight) => {
            let index = real.index(world.reals.len());
            world.reals[index].1 = *weight;
            world.write();
        }
        Act::Add(last) => {
            if world.reals.iter().all(|(other, _)| other != last) {
                world.reals.push((*last, 1));
                world.write();
            }
        }
        Act::Remove(real) => {
            if world.reals.len() > 1 {
                let (last, _) = world.reals.remove(real.index(world.reals.len()));
                // A real server that is down when it is removed never comes back.
                if let Some(health) = world.view.health.get_mut("p") {
                    health.remove(&address(last));
                }
                world.write();
            }
        }
        Act::UpAgain(real) => {
            let (last, _) = *real.get(&world.reals);
            world.view.set_health("p", address(last), Health::Up);
            world.write();
        }
        Act::Order(real, order) => {
            let (last, _) = *real.get(&world.reals);
            world.order(last, *order);
        }
        Act::Ask(real, asked) => {
            let (last, _) = *real.get(&world.reals);
            world.ask(last, *asked);
            world.write();
        }
        Act::MinHealthy(number) => {
            world.min_healthy = *number;
            world.write();
        }
        Act::Hold => {
            world.view.held.insert("p".into());
        }
        Act::Release => {
            world.view.held.clear();
            world.write();
        }
        Act::CrashAsked(real, asked, parts) => {
            let (last, _) = *real.get(&world.reals);
            world.ask(last, *asked);
            world.crash(*parts);
            world.speak(|_| true)?;
            world.write();
        }
        Act::NewDaemon => world.reconciler = Reconciler::default(),
        Act::Crash(real, weight, parts) => {
            let index = real.index(world.reals.len());
            world.reals[index].1 = *weight;
            world.crash(*parts);
            world.speak(|_| true)?;
            world.write();
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_flow_stays_until_its_real_server_dies_or_it_falls_silent(
        acts in acts(),
        (by_source, udp, zones, keeps) in any::<(bool, bool, bool, bool)>(),
    ) {
        let on_empty = if keeps { OnEmpty::Keep } else { OnEmpty::Drop };
        let mut world = World::new(Ways { by_source, udp, zones, on_empty });
        world.open(100);
        for (number, act) in acts.iter().enumerate() {
            let outcome = go(&mut world, act);
            prop_assert_eq!(outcome, Ok(()), "act {}", number);
        }
    }
}

#[test]
fn clients_who_get_a_zone_keep_their_flows() {
    let mut world = World::new(Ways::default());
    world.open(300);
    world.ways.zones = true;
    world.write();
    assert_eq!(world.speak(|_| true), Ok(()));
    world.now += IDLE / 2;
    world.open(100);
    world.sweep();
    assert_eq!(world.speak(|_| true), Ok(()));
}

#[test]
fn after_a_quiet_time_nothing_is_tracked_any_more() {
    let mut world = World::new(Ways::default());
    world.open(200);
    world.reals.push((5, 2));
    world.write();
    world.view.set_health("p", address(1), Health::Down);
    world.write();
    world.view.health.clear();
    world.write();
    assert!(world.reconciler.tracks());
    let mut opened = 0;
    for _ in 0..200 {
        world.now += 30;
        world.sweep();
        // Flows come and go all the time; none lasts.
        world.flows.clear();
        world.open(5);
        opened += 5;
        if !world.reconciler.tracks() {
            break;
        }
    }
    assert!(!world.reconciler.tracks(), "still tracking after {opened} flows");
    assert!(world.now < 1000 + 3 * IDLE, "it took {} seconds", world.now - 1000);
}

#[test]
fn a_flow_that_never_ends_holds_its_ring_and_no_more_than_that() {
    let mut world = World::new(Ways::default());
    world.open(400);
    world.reals.push((5, 1));
    world.write();
    for _ in 0..40 {
        world.now += IDLE / 4;
        world.speak(|_| true).expect("all stay");
        world.sweep();
    }
    let pins = world.maps.words(WordMap::Pins).chunks(WAYS).flatten();
    let pins = pins.filter(|word| word.load(std::sync::atomic::Ordering::Relaxed) != 0).count();
    assert!(world.reconciler.tracks() && pins < 160, "{pins} pins for 400 flows of which a fifth should have moved");
    world.flows.clear();
    world.now += 2 * IDLE;
    world.sweep();
    world.sweep();
    assert!(!world.reconciler.tracks());
}
