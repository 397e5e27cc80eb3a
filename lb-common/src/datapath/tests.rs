//! The pipeline on the host, over tables small enough to read.

mod probes;
mod signs;
mod ways;

use super::*;
use crate::abi::limits::{self, MAX_INTERFACES, SERVICE_SLOTS};
use crate::abi::{Counter, Mac, Protocol, RingRange, ServiceFlags, VERSION};
use crate::hash::FlowKey;
use crate::wire::Buffer;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 0xd1]);
const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 0xc1]);
const REAL: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);
const VIP: [u8; 4] = [192, 168, 81, 100];
const VIP_6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

struct World {
    settings: Settings,
    slots: Vec<ServiceSlot>,
    buckets: Vec<Bucket>,
    reals: Vec<RealSlot>,
    pins: Vec<PinSet>,
    now: Tick,
    access: Option<u32>,
    fenced: bool,
    closed: bool,
    fragments: Vec<(u64, FragmentOwner)>,
    probes: Vec<(u64, [u64; 2])>,
    syns: Vec<SynNote>,
    syn_clock: SynTick,
    signals: Vec<(u32, Signal)>,
    reasons: Vec<Reason>,
    counter: Counter,
}

impl Tables for World {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn slot(&self, index: u32) -> Option<&ServiceSlot> {
        self.slots.get(index as usize)
    }

    fn bucket(&self, index: u32) -> Option<Bucket> {
        self.buckets.get(index as usize).copied()
    }

    fn real(&self, id: RealId) -> Option<&RealSlot> {
        self.reals.get(id.index() as usize)
    }

    fn find_block(&self, key: ServiceKey) -> Option<u32> {
        find_block(key, self)
    }

    fn pins(&self, set: u32) -> Option<&PinSet> {
        self.pins.get(set as usize)
    }

    fn track(&mut self, tracked: Tracked) -> Bucket {
        track(tracked, self)
    }

    fn now(&self) -> Tick {
        self.now
    }

    fn access(&self, _: AccessList, _: [u64; 2]) -> Option<u32> {
        self.access
    }

    fn is_fenced(&self, vip: [u64; 2]) -> bool {
        self.fenced && is_vip(vip)
    }

    fn guard(&self, vip: [u64; 2]) -> Option<VipGuard> {
        is_vip(vip).then_some(VipGuard::new(0, self.closed))
    }

    fn fragment_owner(&self, packet: u64) -> Option<FragmentOwner> {
        self.fragments.iter().find(|(other, _)| *other == packet).map(|(_, owner)| *owner)
    }

    fn remember_fragment(&mut self, packet: u64, owner: FragmentOwner) {
        self.fragments.push((packet, owner));
    }

    fn probed_real(&self, answer: u64) -> Option<[u64; 2]> {
        self.probes.iter().find(|(other, _)| *other == answer).map(|(_, real)| *real)
    }

    fn syn(&self, place: u32) -> Option<&SynNote> {
        self.syns.get(place as usize)
    }

    fn syn_clock(&self) -> SynTick {
        self.syn_clock
    }

    fn count_signal(&mut self, real: RealId, signal: Signal) {
        self.signals.push((real.index(), signal));
    }

    fn count_reason(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }

    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64) {
        assert_eq!((service.index(), real.index() | 1), (7, 9));
        self.counter.packets += 1;
        self.counter.bytes += bytes;
    }
}

fn is_vip(vip: [u64; 2]) -> bool {
    let address = if vip[1] == 0 { VIP.to_vec() } else { VIP_6.to_vec() };
    [vip[0].to_le_bytes(), vip[1].to_le_bytes()].concat().starts_with(&address)
}

/// One service, VIP:3306/tcp and VIP_6:3306/tcp, id 7, with a ring of one bucket that real server 9 owns.
fn world() -> World {
    let port = 3306_u16.to_be_bytes();
    let keys = [ServiceKey::v4(VIP, port, Protocol::Tcp), ServiceKey::v6(VIP_6, port, Protocol::Tcp)];
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut own_macs = [0; MAX_INTERFACES];
    own_macs[1] = OWN.to_word();
    let settings = Settings {
        version: VERSION.into(),
        active_half: 1,
        slot_seeds: [1, seed],
        hash_seed: 5,
        flow_key: FlowKey::from_seed(5),
        port_blocks: 0,
        pin_mask: 0,
        idle_ticks: 50,
        probes: 1,
        jiffy: 0,
        closed: 1,
        own_macs,
        interfaces: [0, 4, 5, 0, 0, 0, 0, 0],
        peer_macs: [0; 4],
    };
    let mut slots = vec![ServiceSlot::default(); 2 * SERVICE_SLOTS as usize];
    let service = ServiceId::new(7).expect("7 is a valid id");
    for key in keys {
        slots[(SERVICE_SLOTS + key.slot(seed)) as usize] =
            ServiceSlot::new(key, service, ServiceFlags::default(), RingRange { base: 2, size: 1 });
    }
    let real = RealId::new(9).expect("9 is a valid id");
    let buckets = vec![Bucket::UNWRITTEN, Bucket::UNWRITTEN, Bucket::new(real, REAL)];
    let mut reals = vec![RealSlot::default(); 10];
    reals[9].owner = Bucket::new(real, REAL).to_word();
    World {
        settings,
        slots,
        buckets,
        reals,
        pins: vec![PinSet::default()],
        now: Tick::default(),
        access: None,
        fenced: false,
        closed: false,
        fragments: Vec::new(),
        probes: Vec::new(),
        syns: (0..limits::SYNS).map(|_| SynNote::default()).collect(),
        syn_clock: SynTick::default(),
        signals: Vec::new(),
        reasons: Vec::new(),
        counter: Counter::default(),
    }
}

/// The frame comes in by interface 4.
fn run(frame: &mut [u8], world: &mut World) -> Reason {
    process(&mut Buffer::new(frame, 0, 4), world).reason
}

/// A client's TCP segment to VIP:3306, without options or payload.
fn segment() -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(OWN.0);
    frame.extend(CLIENT.0);
    frame.extend([0x08, 0x00]);
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1]);
    frame.extend(VIP);
    frame.extend([0xc0, 0x01]);
    frame.extend(3306_u16.to_be_bytes());
    frame.extend([0; 16]);
    fix_checksum(&mut frame);
    frame
}

fn header_sum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

fn fix_checksum(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].fill(0);
    let sum = !header_sum(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

fn set_ttl(frame: &mut [u8], ttl: u8) {
    frame[22] = ttl;
    fix_checksum(frame);
}

/// The same over IPv6, with an extension header of 16 bytes.
fn segment_v6() -> Vec<u8> {
    let mut frame = segment();
    let transport = frame.split_off(34);
    frame.truncate(12);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 36, 60, 64]);
    frame.extend([0xfd; 16]);
    frame.extend(VIP_6);
    frame.extend([6, 1]);
    frame.extend([0; 14]);
    frame.extend(transport);
    frame
}

#[test]
fn sends_a_clients_segment_to_the_real_server_and_changes_only_addresses_and_ttl() {
    let (mut world, before) = (world(), segment());
    let mut frame = before.clone();
    assert_eq!(run(frame.as_mut_slice(), &mut world), Reason::Forwarded);
    assert_eq!(frame[..6], REAL.0);
    assert_eq!(frame[6..12], OWN.0);
    assert_eq!(frame[22], before[22] - 1);
    assert_eq!(header_sum(&frame[14..34]), 0xffff);
    assert_eq!(frame[12..22], before[12..22]);
    assert_eq!(frame[26..], before[26..]);
    assert_eq!(world.counter, Counter { packets: 1, bytes: before.len() as u64 });
    assert_eq!(world.reasons, [Reason::Forwarded]);
}

#[test]
fn the_checksum_stays_right_whatever_it_was() {
    let mut world = world();
    for id in 0..=u16::MAX {
        let mut frame = segment();
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        fix_checksum(&mut frame);
        assert_eq!(run(frame.as_mut_slice(), &mut world), Reason::Forwarded, "id {id}");
        assert_eq!(header_sum(&frame[14..34]), 0xffff, "id {id}");
    }
}

/// A router's answer to what the real server sent the client of [`segment`]: "fragmentation needed".
fn icmp_error() -> Vec<u8> {
    let sent = segment();
    let mut frame = sent[..14].to_vec();
    frame.extend([0x45, 0, 0, 56, 0, 9, 0, 0, 64, 1, 0, 0, 10, 9, 9, 9]);
    frame.extend(VIP);
    frame.extend([3, 4, 0, 0, 0, 0, 0x05, 0x78]);
    frame.extend(&sent[14..26]);
    frame.extend([&sent[30..34], &sent[26..30], &sent[36..38], &sent[34..36], &[0; 4]].concat());
    fix_checksum(&mut frame);
    frame
}

/// The same over IPv6: "packet too big".
fn icmp_error_v6() -> Vec<u8> {
    let sent = segment_v6();
    let mut frame = sent[..14].to_vec();
    frame.extend([0x60, 0, 0, 0, 0, 56, 58, 64]);
    frame.extend([0xfc; 16]);
    frame.extend(VIP_6);
    frame.extend([2, 0, 0, 0, 0, 0, 0x05, 0x78]);
    frame.extend([0x60, 0, 0, 0, 0, 20, 6, 64]);
    frame.extend([&sent[38..54], &sent[22..38], &sent[72..74], &sent[70..72], &[0; 4]].concat());
    frame
}

/// Cuts a frame's IP payload in two fragments of one packet.
fn fragments() -> [Vec<u8>; 2] {
    let whole = segment();
    let (mut first, mut later) = (whole.clone(), whole[..34].to_vec());
    first[20..22].copy_from_slice(&[0x20, 0]);
    later.extend([7; 8]);
    later[16..18].copy_from_slice(&28_u16.to_be_bytes());
    later[20..22].copy_from_slice(&[0, 3]);
    fix_checksum(&mut first);
    fix_checksum(&mut later);
    [first, later]
}

/// The same over IPv6, where the extension header of [`segment_v6`] makes room for a fragment header.
fn fragments_v6() -> [Vec<u8>; 2] {
    let mut first = segment_v6();
    first.drain(62..70);
    (first[19], first[20]) = (28, 44);
    first[54..62].copy_from_slice(&[6, 0, 0, 1, 1, 2, 3, 4]);
    let mut later = first[..70].to_vec();
    (later[19], later[57]) = (16, 0);
    later[56] = 1;
    [first, later]
}

#[test]
fn later_fragments_follow_the_first() {
    for [first, later] in [fragments(), fragments_v6()] {
        let mut world = world();
        let before = later.clone();
        let mut early = later.clone();
        assert_eq!(run(early.as_mut_slice(), &mut world), Reason::Fragment);
        assert_eq!(early, before);
        assert_eq!(run(first.clone().as_mut_slice(), &mut world), Reason::Forwarded);
        // Whatever becomes of the ring in between.
        world.buckets.fill(Bucket::EMPTY);
        let mut frame = later.clone();
        assert_eq!(run(frame.as_mut_slice(), &mut world), Reason::Forwarded);
        assert_eq!((&frame[..6], &frame[6..12]), (&REAL.0[..], &OWN.0[..]));
        assert_eq!(world.counter.packets, 2);
        let mut another = later;
        let id = if another[13] == 0 { 19 } else { 61 };
        another[id] ^= 1;
        assert_eq!(run(another.as_mut_slice(), &mut world), Reason::Fragment, "another packet's");
    }
}

#[test]
fn an_icmp_error_goes_where_its_flow_goes() {
    for (about, error) in [(segment(), icmp_error()), (segment_v6(), icmp_error_v6())] {
        // Of many real servers, so that another flow would most likely go to another one.
        let mut world = world();
        let slots = world.slots.iter_mut().filter(|slot| slot.tail != 0);
        slots.for_each(|slot| slot.ring = RingRange { base: 0, size: 251 }.to_word());
        let real = RealId::new(9).expect("9 is a valid id");
        world.buckets = (0..251).map(|i| Bucket::new(real, Mac([2, 0, 0, 0, 1, i]))).collect();
        let (mut about, mut error) = (about, error);
        assert_eq!(run(about.as_mut_slice(), &mut world), Reason::Forwarded);
        assert_eq!(run(error.as_mut_slice(), &mut world), Reason::IcmpError);
        assert_eq!(error[..12], about[..12]);
        assert_eq!(world.counter.packets, 2);
    }
}

#[test]
fn every_other_icmp_packet_is_left_as_it_was_with_its_reason() {
    let rows: &[(&str, Change, Reason)] = &[
        ("an echo request", |frame, _| frame[34] = 8, Reason::NotBalanced),
        ("a redirect", |frame, _| frame[34] = 5, Reason::NotBalanced),
        ("about ICMP", |frame, _| frame[51] = 1, Reason::NotBalanced),
        ("about a later fragment", |frame, _| frame[49] = 1, Reason::NotBalanced),
        ("about another's packet", |frame, _| frame[57] ^= 1, Reason::NotBalanced),
        ("about another port", |frame, _| frame[63] ^= 1, Reason::NoService),
        ("without ports in the quote", |frame, _| frame.truncate(64), Reason::NotBalanced),
        ("with half a quote by its own account", |frame, _| frame[17] -= 1, Reason::BadLength),
        ("a fragment itself", |frame, _| frame[20] = 0x20, Reason::NotBalanced),
        ("time to live 1", |frame, _| set_ttl(frame, 1), Reason::TtlExpired),
    ];
    check_rows(rows, icmp_error);
    let rows: &[(&str, Change, Reason)] = &[
        ("an echo request", |frame, _| frame[54] = 128, Reason::NotBalanced),
        ("a neighbour solicitation", |frame, _| frame[54] = 135, Reason::NotBalanced),
        ("about ICMPv6", |frame, _| frame[68] = 58, Reason::NotBalanced),
        ("about another's packet", |frame, _| frame[85] ^= 1, Reason::NotBalanced),
        ("about another port", |frame, _| frame[103] ^= 1, Reason::NoService),
        ("without ports in the quote", |frame, _| frame.truncate(104), Reason::NotBalanced),
        ("with half a quote by its own account", |frame, _| frame[19] -= 1, Reason::BadLength),
    ];
    check_rows(rows, icmp_error_v6);
}

#[test]
fn options_before_the_ports_do_not_hide_them() {
    let mut frame = segment();
    frame[14] = 0x46;
    frame[17] = 44;
    frame.splice(34..34, [1, 1, 1, 0]);
    fix_checksum(&mut frame);
    assert_eq!(run(frame.as_mut_slice(), &mut world()), Reason::Forwarded);
    frame[35] = 7;
    frame[22] += 1;
    assert_eq!(run(frame.as_mut_slice(), &mut world()), Reason::Overheard, "it has been sent on");
    frame[..6].copy_from_slice(&OWN.0);
    assert_eq!(run(frame.as_mut_slice(), &mut world()), Reason::BadChecksum);
}

#[test]
fn ipv6_is_sent_on_with_one_hop_less() {
    let (mut world, before) = (world(), segment_v6());
    let mut frame = before.clone();
    assert_eq!(run(frame.as_mut_slice(), &mut world), Reason::Forwarded);
    assert_eq!(frame[..6], REAL.0);
    assert_eq!(frame[21], before[21] - 1);
    assert_eq!(frame[22..], before[22..]);
}

/// Each row changes one thing, of the packet or of the world.
#[test]
fn every_other_packet_is_left_as_it_was_with_its_reason() {
    let rows: &[(&str, Change, Reason)] = &[
        ("ARP", |frame, _| frame[13] = 6, Reason::NotBalanced),
        ("IPv6 version in an IPv4 frame", |frame, _| frame[14] = 0x65, Reason::NotBalanced),
        ("header length below five", |frame, _| frame[14] = 0x44, Reason::NotBalanced),
        ("ICMP", |frame, _| frame[23] = 1, Reason::NotBalanced),
        ("cut within the ports", |frame, _| frame.truncate(37), Reason::NotBalanced),
        ("cut within the IP header", |frame, _| frame.truncate(20), Reason::NotBalanced),
        ("empty", |frame, _| frame.clear(), Reason::NotBalanced),
        ("first fragment to another port", |frame, _| (frame[20], frame[37]) = (0x20, 1), Reason::NoService),
        ("later fragment of an unknown packet", |frame, _| frame[21] = 1, Reason::Fragment),
        ("another address", |frame, _| frame[33] = 101, Reason::NoService),
        ("another port", |frame, _| frame[37] ^= 1, Reason::NoService),
        ("another protocol", |frame, _| frame[23] = 17, Reason::NoService),
        ("another machine's MAC", |frame, _| frame[5] ^= 1, Reason::Overheard),
        ("broadcast", |frame, _| frame[..6].fill(0xff), Reason::Overheard),
        ("all-zero MAC", |frame, _| frame[..6].fill(0), Reason::Overheard),
        ("longer than its frame", |frame, _| frame[17] += 1, Reason::BadLength),
        ("too short for TCP", |frame, _| frame[17] -= 1, Reason::BadLength),
        ("time to live 1", |frame, _| set_ttl(frame, 1), Reason::TtlExpired),
        ("time to live 0", |frame, _| set_ttl(frame, 0), Reason::TtlExpired),
        ("a wrong checksum", |frame, _| frame[24] ^= 1, Reason::BadChecksum),
        ("no usable real server", |_, world| world.buckets[2] = Bucket::EMPTY, Reason::NoUsableReal),
        ("unwritten bucket", |_, world| world.buckets[2] = Bucket::UNWRITTEN, Reason::UnwrittenBucket),
        ("ring beyond the map", |_, world| world.buckets.truncate(2), Reason::UnwrittenBucket),
        ("no settings yet", |_, world| world.settings.version = 0, Reason::NotConfigured),
        ("the other half is active", |_, world| world.settings.active_half = 0, Reason::NoService),
    ];
    check_rows(rows, segment);
}

/// The same for IPv6.
#[test]
fn every_other_ipv6_packet_is_left_as_it_was_with_its_reason() {
    let rows: &[(&str, Change, Reason)] = &[
        ("IPv4 version in an IPv6 frame", |frame, _| frame[14] = 0x45, Reason::NotBalanced),
        ("ICMPv6", |frame, _| frame[54] = 58, Reason::NotBalanced),
        ("no next header", |frame, _| frame[54] = 59, Reason::NotBalanced),
        ("later fragment of an unknown packet", |frame, _| (frame[20], frame[57]) = (44, 8), Reason::Fragment),
        ("an extension header that leads out of the frame", |frame, _| frame[55] = 255, Reason::NotBalanced),
        ("cut within the extension header", |frame, _| frame.truncate(55), Reason::NotBalanced),
        ("another address", |frame, _| frame[53] ^= 1, Reason::NoService),
        ("another port", |frame, _| frame[73] ^= 1, Reason::NoService),
        ("another machine's MAC", |frame, _| frame[5] ^= 1, Reason::Overheard),
        ("longer than its frame", |frame, _| frame[19] += 1, Reason::BadLength),
        ("too short for TCP", |frame, _| frame[19] -= 1, Reason::BadLength),
        ("hop limit 1", |frame, _| frame[21] = 1, Reason::TtlExpired),
        ("hop limit 0", |frame, _| frame[21] = 0, Reason::TtlExpired),
    ];
    check_rows(rows, segment_v6);
}

#[test]
fn a_chain_of_extension_headers_is_walked_so_far_and_no_further() {
    for (headers, reason) in [(4, Reason::Forwarded), (5, Reason::NotBalanced)] {
        let mut frame = segment_v6();
        for _ in 1..headers {
            frame.splice(54..54, [60, 0, 0, 0, 0, 0, 0, 0]);
            frame[19] += 8;
        }
        assert_eq!(run(frame.as_mut_slice(), &mut world()), reason, "{headers} extension headers");
    }
}

type Change = fn(&mut Vec<u8>, &mut World);

fn check_rows(rows: &[(&str, Change, Reason)], packet: fn() -> Vec<u8>) {
    for (name, change, reason) in rows {
        let (mut frame, mut world) = (packet(), world());
        change(&mut frame, &mut world);
        let before = frame.clone();
        assert_eq!(run(frame.as_mut_slice(), &mut world), *reason, "{name}");
        assert_eq!(frame, before, "{name}: the packet was changed");
        assert_eq!(world.reasons, [*reason], "{name}");
        assert_eq!(world.counter, Counter::default(), "{name}");
    }
}
