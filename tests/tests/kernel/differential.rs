//! Host pipeline against kernel program, on random packets: verdict, bytes and every counter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use lb_common::abi::{Protocol, RealId, ServiceId};
use lb_common::datapath::process;
use lb_common::hash::mix;
use lb_common::reason::{Action, Reason};
use lb_user::dataplane::{CounterId, HostTables, Kernel};
use lb_user::state::Health;
use tests::bench::case::aya_verdict::{PASS, TX};
use tests::fixture::{self, PORT, UDP_PORT, VIP, VIP_6, World};
use tests::packet::Packet;

use crate::program::run;

const PACKETS: u64 = 1_000_000;
const DROP: u32 = 1;

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
}

/// Mostly for a service, often odd in one way, sometimes in many.
fn random_frame(random: &mut Random) -> Vec<u8> {
    let protocol = if random.one_in(3) { Protocol::Udp } else { Protocol::Tcp };
    let service_port = if protocol == Protocol::Tcp { PORT } else { UDP_PORT };
    let port = if random.one_in(8) { random.next() as u16 } else { service_port };
    let (source, elsewhere, vip) = if random.one_in(3) {
        (random_v6(random), random_v6(random), VIP_6)
    } else {
        (random_v4(random), random_v4(random), VIP)
    };
    let destination = if random.one_in(8) { elsewhere } else { vip };
    let mut packet = Packet::new(protocol, (source, random.next() as u16), (destination, port));
    packet.payload = random.below(200) as usize;
    packet.options = if random.one_in(6) { random.below(11) as usize } else { 0 };
    if random.one_in(6) {
        // Few senders and few identifications, so that fragments meet.
        packet.source = few(packet.source, random.below(8) as u8);
        packet.fragment = [0x2000, 0x2000, 1, 0x2002, 0x4000, random.next() as u16][random.below(6) as usize];
        let more = [0, 1, 8, 9][random.below(4) as usize];
        packet.extensions.push((44, 0));
        packet.fragment_header = [0, 0, 0, more, 0, 0, 0, random.below(4) as u8];
    }
    packet.ttl = if random.one_in(10) { random.below(3) as u8 } else { packet.ttl };
    for _ in 0..random.below(6) / 2 * random.below(4) {
        // Hop-by-hop, routing, fragment, destination options; rarely anything.
        let number =
            if random.one_in(12) { random.next() as u8 } else { [0, 43, 60, 60, 60][random.below(5) as usize] };
        packet.extensions.push((number, random.below(4) as u8));
    }
    let mut frame = if random.one_in(5) {
        let router = if packet.destination.is_ipv4() { random_v4(random) } else { random_v6(random) };
        let kind = [3, 11, 12, 1, 2, 4, 8, 128][random.below(8) as usize];
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

fn few(address: IpAddr, last: u8) -> IpAddr {
    if address.is_ipv4() { Ipv4Addr::new(10, 0, 0, last).into() } else { Ipv6Addr::from_bits(last.into()).into() }
}

fn random_v4(random: &mut Random) -> IpAddr {
    Ipv4Addr::from_bits(random.next() as u32).into()
}

fn random_v6(random: &mut Random) -> IpAddr {
    Ipv6Addr::from_bits(u128::from(random.next()) << 64 | u128::from(random.next())).into()
}

fn world() -> World {
    let mut world = World::new(5);
    let down = world.config.pools[0].reals[2].address;
    world.view.health.insert(("web".into(), down), Health::Down);
    world
}

fn compare_counters(kernel: &Kernel, host: &HostTables) -> Result<()> {
    for reason in Reason::ALL {
        let (kernel, host) = (kernel.reason(reason)?, host.counted.reasons[reason as usize]);
        ensure!(kernel == host, "{}: {kernel} in the kernel, {host} on the host", reason.name());
    }
    for id in (1..=4).filter_map(ServiceId::new) {
        ensure!(kernel.counter(CounterId::Service(id))? == host.counted.service_counters[id.index() as usize]);
    }
    for id in (1..=5).filter_map(RealId::new) {
        ensure!(kernel.counter(CounterId::Real(id))? == host.counted.real_counters[id.index() as usize]);
    }
    Ok(())
}

#[test]
fn kernel_and_host_agree_on_random_packets() -> Result<()> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    println!("seed {seed}");
    let (world, mut random) = (world(), Random(seed));
    let mut kernel = fixture::load(&fixture::program_object()?, &world)?;
    let mut host = HostTables::new(&kernel, &world.config.limits);
    for number in 0..PACKETS {
        let frame = random_frame(&mut random);
        let mut expected = frame.clone();
        let reason = process(expected.as_mut_slice(), &mut host);
        let verdict = match reason.action() {
            Action::Transmit => TX,
            Action::Pass => PASS,
            Action::Drop => DROP,
        };
        let (kernels_verdict, after) = run(&mut kernel, &frame)?;
        ensure!(
            kernels_verdict == verdict && after == expected,
            "seed {seed}, packet {number}: the host says {} ({verdict}), the kernel {kernels_verdict}\n\
             frame  {frame:02x?}\nhost   {expected:02x?}\nkernel {after:02x?}",
            reason.name()
        );
    }
    println!("{:?}", Reason::ALL.map(|reason| (reason.name(), host.counted.reasons[reason as usize])));
    let never = [Reason::NoUsableReal, Reason::UnwrittenBucket, Reason::NotConfigured];
    for reason in Reason::ALL.into_iter().filter(|reason| !never.contains(reason)) {
        let count = host.counted.reasons[reason as usize];
        ensure!(count > PACKETS / 2000, "only {count} packets were {}", reason.name());
    }
    compare_counters(&kernel, &host)
}
