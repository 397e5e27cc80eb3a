//! Host pipeline against kernel program, on random packets: verdict, bytes, pins and every counter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use lb_common::abi::{Counter, Protocol, RealId, ServiceId, Tick, WAYS};
use lb_common::datapath::process;
use lb_common::hash::mix;
use lb_common::reason::{Action, Reason};
use lb_common::wire::Buffer;
use lb_user::dataplane::{CounterId, HostTables, Kernel, Maps, WordMap};
use lb_user::reconcile::Reconciler;
use lb_user::state::{Health, Moment};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use tests::bench::case::aya_verdict::{DROP, PASS, REDIRECT, TX};
use tests::fixture::{self, ANY_VIP, INTERFACE, PEER, PORT, UDP_PORT, VIP, VIP_6, World};
use tests::packet::{Packet, arp_request, solicitation};

use crate::program::run;

const PACKETS: u64 = 1_000_000;
/// Between two changes of the world.
const LULL: u64 = 50_000;
/// For a tag, before the frame.
const ROOM: usize = 8;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Mostly for a service, often odd in one way, sometimes in many.
fn random_frame(random: &mut Random) -> Vec<u8> {
    if random.one_in(20) {
        return random_question(random);
    }
    let protocol = if random.one_in(3) { Protocol::Udp } else { Protocol::Tcp };
    let service_port = if protocol == Protocol::Tcp { PORT } else { UDP_PORT };
    let odd_port = random.next() as u16;
    let port = random.pick(&[service_port, service_port, service_port, service_port, 443, 8000, 8777, 9001, odd_port]);
    let (mut source, elsewhere, vip) = if random.one_in(3) {
        (random_v6(random), random_v6(random), VIP_6)
    } else {
        (random_v4(random), random_v4(random), random.pick(&[VIP, VIP, ANY_VIP]))
    };
    let destination = if random.one_in(8) { elsewhere } else { vip };
    let mut source_port = random.next() as u16;
    if random.one_in(2) {
        // Few flows, so that packets meet pins.
        (source, source_port) = (few(source, random.below(16) as u8), random.below(64) as u16);
    }
    let mut packet = Packet::new(protocol, (source, source_port), (destination, port));
    packet.tcp_flags = random.pick(&[Packet::SYN, Packet::ACK, Packet::ACK, Packet::SYN | Packet::ACK]);
    if random.one_in(4) {
        let kinds = [0x8100, 0x8100, 0x88a8];
        packet.tags = (0..=random.below(3)).map(|_| (random.pick(&kinds), random.next() as u16)).collect();
    }
    if random.one_in(8) {
        packet.source_mac = PEER;
    }
    packet.payload = random.below(200) as usize;
    packet.options = if random.one_in(6) { random.below(11) as usize } else { 0 };
    if random.one_in(6) {
        // Few senders and few identifications, so that fragments meet.
        packet.source = few(packet.source, random.below(8) as u8);
        let odd = random.next() as u16;
        packet.fragment = random.pick(&[0x2000, 0x2000, 1, 0x2002, 0x4000, odd]);
        let more = random.pick(&[0, 1, 8, 9]);
        packet.extensions.push((44, 0));
        packet.fragment_header = [0, 0, 0, more, 0, 0, 0, random.below(4) as u8];
    }
    packet.ttl = if random.one_in(10) { random.below(3) as u8 } else { packet.ttl };
    for _ in 0..random.below(6) / 2 * random.below(4) {
        // Hop-by-hop, routing, fragment, destination options; rarely anything.
        let number = if random.one_in(12) { random.next() as u8 } else { random.pick(&[0, 43, 60, 60, 60]) };
        packet.extensions.push((number, random.below(4) as u8));
    }
    let mut frame = if random.one_in(5) {
        let router = if packet.destination.is_ipv4() { random_v4(random) } else { random_v6(random) };
        let kind = random.pick(&[3, 11, 12, 1, 2, 4, 8, 128]);
        packet.icmp_error(router, kind, random.below(120) as usize)
    } else {
        packet.bytes()
    };
    if random.one_in(4) {
        for _ in 0..=random.below(4) {
            let at = random.below(frame.len().min(120) as u64) as usize;
            frame[at] = random.next() as u8;
        }
    }
    if random.one_in(10) {
        // The kernel refuses to run a frame shorter than an Ethernet header.
        frame.truncate(14 + random.below(frame.len() as u64 - 13) as usize);
    }
    frame
}

/// An ARP request or a neighbour solicitation, sometimes odd.
fn random_question(random: &mut Random) -> Vec<u8> {
    let mut frame = match random.pick(&[VIP, VIP, ANY_VIP, VIP_6, VIP_6]) {
        IpAddr::V4(vip) => arp_request(vip),
        IpAddr::V6(vip) => solicitation(vip),
    };
    if random.one_in(3) {
        let at = random.below(frame.len() as u64) as usize;
        frame[at] = random.next() as u8;
    }
    frame
}

fn few(address: IpAddr, last: u8) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::new(10, 0, 0, last).into() } else { Ipv6Addr::from_bits(last.into()).into() }
}

fn random_v4(random: &mut Random) -> IpAddr {
    Ipv4Addr::from_bits(random.next() as u32).into()
}

fn random_v6(random: &mut Random) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(random.next()) << 64 | u128::from(random.next())).into()
}

/// The world as it is after so many changes: weights, health, members come and go.
fn changed(world: &World, changes: u64, random: &mut Random) -> World {
    let mut world = world.clone();
    let World { config, view } = &mut world;
    if changes == 0 {
        return world;
    }
    for (index, pool) in config.pools.iter_mut().enumerate() {
        for real in &mut pool.reals {
            let health = random.pick(&[Health::Up, Health::Up, Health::Down]);
            view.set_health(&pool.name, real.address, health);
            if random.one_in(8) {
                real.weight = random.below(3) as u32;
            }
        }
        if changes % 2 == index as u64 {
            pool.reals.pop();
        }
    }
    if changes % 4 == 3 {
        config.services.pop();
    }
    world
}

const SERVICES: u16 = 20;
const REALS: u16 = 40;

/// Has both count anew: the ids that a change gives out do too.
fn zero_counters(kernel: &mut Kernel, host: &mut HostTables) -> Result<()> {
    for id in (1..=SERVICES).filter_map(ServiceId::new) {
        kernel.zero_counter(CounterId::Service(id))?;
    }
    for id in (1..=REALS).filter_map(RealId::new) {
        kernel.zero_counter(CounterId::Real(id))?;
    }
    host.counted.service_counters.fill(Counter::default());
    host.counted.real_counters.fill(Counter::default());
    Ok(())
}

fn compare(kernel: &Kernel, host: &HostTables) -> Result<()> {
    for reason in Reason::ALL {
        let (kernel, host) = (kernel.reason(reason)?, host.counted.reasons[reason as usize]);
        ensure!(kernel == host, "{}: {kernel} in the kernel, {host} on the host", reason.name());
    }
    for id in (1..=SERVICES).filter_map(ServiceId::new) {
        ensure!(kernel.counter(CounterId::Service(id))? == host.counted.service_counters[id.index() as usize]);
    }
    for id in (1..=REALS).filter_map(RealId::new) {
        ensure!(kernel.counter(CounterId::Real(id))? == host.counted.real_counters[id.index() as usize]);
    }
    let words = kernel.words(WordMap::Pins).chunks_exact(WAYS);
    for (number, (kernel, host)) in words.zip(&host.pins).enumerate() {
        for (way, word) in kernel.iter().enumerate() {
            let (kernel, host) = (word.load(Ordering::Acquire), host.pin(way).to_word());
            ensure!(kernel == host, "pin {number}.{way}: {kernel:016x} in the kernel, {host:016x} on the host");
        }
    }
    Ok(())
}

/// As the kernel program reads it.
fn tick() -> Result<Tick> {
    let time: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?.into();
    Ok(Tick::from_nanoseconds(time.as_nanos() as u64))
}

/// Another interface than the loopback, in a network namespace of this thread's own. Gives its index.
fn other_interface() -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let added = std::process::Command::new("ip").args(["link", "add", "other", "type", "veth"]).status()?;
    ensure!(added.success(), "cannot add an interface");
    Ok(nix::net::if_::if_nametoindex("other")?)
}

fn agree(start: &World, packets: u64, never: &[Reason]) -> Result<()> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    println!("seed {seed}");
    let mut random = Random(seed);
    let limits = start.config.limits;
    let mut kernel = fixture::load(&fixture::program_object()?, start)?;
    // One lease has run out, the other does in centuries.
    for (vip, lease) in [(VIP, 0), (VIP_6, 0), (ANY_VIP, 1)] {
        kernel.set_lease(vip, Some(lease))?;
    }
    kernel.words(WordMap::Leases)[1].store(u64::MAX, Ordering::Release);
    let mut host = HostTables::new(&kernel, &limits)?;
    let mut reconciler = Reconciler::default();
    for number in 0..packets {
        if number % LULL == 0 {
            compare(&kernel, &host).with_context(|| format!("seed {seed}, packet {number}"))?;
            let World { config, view } = changed(start, number / LULL, &mut random);
            let now = Moment { seconds: number / LULL * 600, tick: tick()? };
            reconciler.sweep(&config, &view, &mut kernel, now)?;
            host.refresh(&kernel, &limits)?;
            zero_counters(&mut kernel, &mut host)?;
        }
        let frame = random_frame(&mut random);
        let mut expected = [vec![0; ROOM], frame.clone()].concat();
        host.now = tick()?;
        host.nanoseconds = 1; // between the two
        let mut buffer = Buffer::new(&mut expected, ROOM, INTERFACE);
        let outcome = process(&mut buffer, &mut host);
        let (verdict, expected) = match (outcome.reason.action(), outcome.interface) {
            (Action::Transmit, None) => (TX, buffer.frame()),
            (Action::Transmit, Some(_)) => (REDIRECT, buffer.frame()),
            (Action::Pass, _) => (PASS, buffer.frame()),
            (Action::Drop, _) => (DROP, buffer.frame()),
        };
        let (kernels_verdict, after) = run(&mut kernel, &frame)?;
        ensure!(
            kernels_verdict == verdict && after == expected,
            "seed {seed}, packet {number}: the host says {} ({verdict}), the kernel {kernels_verdict}\n\
             frame  {frame:02x?}\nhost   {expected:02x?}\nkernel {after:02x?}",
            outcome.reason.name()
        );
        if tick()? != host.now {
            // The kernel may have read the clock before or after it went on.
            host.refresh(&kernel, &limits)?;
        }
    }
    println!("{:?}", Reason::ALL.map(|reason| (reason.name(), host.counted.reasons[reason as usize])));
    for reason in Reason::ALL.into_iter().filter(|reason| !never.contains(reason)) {
        let count = host.counted.reasons[reason as usize];
        ensure!(count > packets / 2000, "only {count} packets were {}", reason.name());
    }
    let pins = host.pins.iter().flat_map(|set| (0..WAYS).map(|way| set.pin(way))).filter(|pin| pin.to_word() != 0);
    println!(
        "{} pins, {} of them confirmed",
        pins.clone().count(),
        pins.clone().filter(|pin| pin.is_confirmed()).count()
    );
    compare(&kernel, &host).with_context(|| format!("seed {seed}"))
}

#[test]
fn kernel_and_host_agree_on_random_packets() -> Result<()> {
    let mut world = World::new(5);
    // Few, so that sets fill up.
    world.config.limits.pins = 1024;
    let never = [Reason::NotConfigured, Reason::UnwrittenBucket, Reason::NoUsableReal];
    let absent = [Reason::Local, Reason::AccessDenied, Reason::TooBig];
    agree(&world, PACKETS / 2, &[never.as_slice(), &absent].concat())
}

#[test]
fn kernel_and_host_agree_where_there_is_everything() -> Result<()> {
    let mut world = World::of_everything(other_interface()?);
    world.config.limits.pins = 4096;
    agree(&world, PACKETS, &[Reason::NotConfigured, Reason::UnwrittenBucket, Reason::NoUsableReal])
}
