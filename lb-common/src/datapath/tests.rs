//! The pipeline on the host, over tables small enough to read.

use super::*;
use crate::abi::limits::{MAX_INTERFACES, SERVICE_SLOTS};
use crate::abi::{Counter, Exit, Mac, Protocol, RingRange, ServiceFlags, VERSION};
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
    fragments: Vec<(u64, FragmentOwner)>,
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
        let address = if vip[1] == 0 { VIP.to_vec() } else { VIP_6.to_vec() };
        self.fenced && [vip[0].to_le_bytes(), vip[1].to_le_bytes()].concat().starts_with(&address)
    }

    fn fragment_owner(&self, packet: u64) -> Option<FragmentOwner> {
        self.fragments.iter().find(|(other, _)| *other == packet).map(|(_, owner)| *owner)
    }

    fn remember_fragment(&mut self, packet: u64, owner: FragmentOwner) {
        self.fragments.push((packet, owner));
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
        fragments: Vec::new(),
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

/// An ARP request of 10.0.0.1 for VIP.
fn arp_request() -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &CLIENT.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &CLIENT.0, &[10, 0, 0, 1]].concat();
    frame.extend([0; 6]);
    frame.extend(VIP);
    frame
}

/// A neighbour solicitation for VIP_6.
fn solicitation() -> Vec<u8> {
    let mut frame =
        [&[0x33, 0x33, 0xff, 0, 1, 0][..], &CLIENT.0, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]].concat();
    frame.extend([0xfd; 16]);
    frame.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 1, 0]);
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(VIP_6);
    frame
}

#[test]
fn nobody_is_told_of_a_vip_whose_lease_has_run_out() {
    for question in [arp_request, solicitation] {
        let mut world = world();
        assert_eq!(run(&mut question(), &mut world), Reason::NotBalanced);
        world.fenced = true;
        assert_eq!(run(&mut question(), &mut world), Reason::Fenced);
        let mut tagged = question();
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        assert_eq!(run(&mut tagged, &mut world), Reason::Fenced);
        for length in 14..question().len() {
            assert_eq!(run(&mut question()[..length], &mut world), Reason::NotBalanced, "{length} bytes");
        }
        let mut other = question();
        *other.last_mut().expect("it is long") ^= 1;
        assert_eq!(run(&mut other, &mut world), Reason::NotBalanced, "another address");
    }
    let mut world = world();
    world.fenced = true;
    let rows: &[(&str, usize, u8)] = &[("an answer", 21, 2), ("hardware addresses of eight bytes", 18, 8)];
    for (what, at, value) in rows {
        let mut frame = arp_request();
        frame[*at] = *value;
        assert_eq!(run(&mut frame, &mut world), Reason::NotBalanced, "{what}");
    }
    let mut announcement = arp_request();
    announcement[28..32].copy_from_slice(&VIP);
    assert_eq!(run(&mut announcement, &mut world), Reason::NotBalanced, "an announcement");
    let mut echo = solicitation();
    echo[54] = 128;
    assert_eq!(run(&mut echo, &mut world), Reason::NotBalanced, "a ping");
}

/// A frame with these tags, (type, control information).
fn tagged(tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = segment();
    let bytes = tags.iter().flat_map(|(kind, control)| [kind.to_be_bytes(), control.to_be_bytes()]).flatten();
    frame.splice(12..12, bytes);
    frame
}

#[test]
fn tags_are_kept_where_the_real_server_has_no_exit() {
    for tags in [&[(0x8100, 0x2007)][..], &[(0x88a8, 5), (0x8100, 0xe006)], &[(0x8100, 5), (0x8100, 6)]] {
        let (mut world, before) = (world(), tagged(tags));
        let mut frame = before.clone();
        assert_eq!(run(&mut frame, &mut world), Reason::Forwarded, "{tags:x?}");
        assert_eq!((&frame[..6], &frame[6..12]), (&REAL.0[..], &OWN.0[..]));
        assert_eq!(frame[12..12 + 4 * tags.len() + 2], before[12..12 + 4 * tags.len() + 2]);
    }
    let mut three = tagged(&[(0x8100, 1), (0x8100, 2), (0x8100, 3)]);
    assert_eq!(run(&mut three, &mut world()), Reason::NotBalanced);
}

/// A world whose real server is reached by the interface in this place, in this VLAN, by packets of up to 40 bytes.
fn world_with_exit(place: u8, vlan: u16) -> World {
    let mut world = world();
    world.settings.own_macs[2] = 0xbb02;
    world.buckets[2] = world.buckets[2].with_exit();
    world.reals[9].exit = Exit::new(place, vlan, 40).0;
    world
}

#[test]
fn a_frame_leaves_by_the_exit_with_its_tag_and_no_other() {
    const OTHER: [u8; 6] = [2, 0xbb, 0, 0, 0, 0];
    // (tags before, place of the exit, its VLAN, tags after, place that it is redirected to); interface 4 is in place 1.
    type Row<'a> = (&'a [(u16, u16)], u8, u16, &'a [(u16, u16)], Option<u32>);
    let rows: &[Row<'_>] = &[
        (&[], 1, 0, &[], None),
        (&[], 2, 0, &[], Some(2)),
        (&[], 2, 20, &[(0x8100, 20)], Some(2)),
        (&[(0x8100, 0xa007)], 1, 20, &[(0x8100, 0xa014)], None),
        (&[(0x8100, 0xa007)], 1, 0, &[], None),
        (&[(0x88a8, 0xa007), (0x8100, 9)], 2, 20, &[(0x8100, 0xa014)], Some(2)),
        (&[(0x88a8, 0xa007), (0x8100, 9)], 1, 0, &[], None),
    ];
    for (before, place, vlan, after, interface) in rows {
        let mut world = world_with_exit(*place, *vlan);
        let mut bytes = [vec![0; 8], tagged(before)].concat();
        let mut frame = Buffer::new(&mut bytes, 8, 4);
        let outcome = process(&mut frame, &mut world);
        assert_eq!(outcome, Outcome { reason: Reason::Forwarded, interface: *interface }, "{before:x?}");
        let own = if *place == 1 { OWN.0 } else { OTHER };
        let mut expected = tagged(after);
        expected[..12].copy_from_slice(&[REAL.0, own].concat());
        let ttl = 12 + 4 * after.len() + 2 + 8;
        assert_eq!(frame.frame()[ttl], expected[ttl] - 1);
        let sum = ttl + 2..ttl + 4;
        expected[ttl] -= 1;
        expected[sum.clone()].copy_from_slice(&frame.frame()[sum]);
        assert_eq!(frame.frame(), expected, "{before:x?} by {place} in {vlan}");
    }
    let mut world = world_with_exit(2, 20);
    world.reals[9].exit = Exit::new(2, 20, 39).0;
    let mut frame = segment();
    assert_eq!(run(&mut frame, &mut world), Reason::TooBig);
    assert_eq!(frame, segment());
}

#[test]
fn what_is_for_this_machine_stays_here_untouched() {
    let real = RealId::new(9).expect("9 is a valid id");
    let (mut world, mut frame) = (world(), segment());
    world.buckets[2] = Bucket::local(real);
    set_ttl(&mut frame, 1);
    let before = frame.clone();
    assert_eq!(run(&mut frame, &mut world), Reason::Local);
    assert_eq!((frame, world.counter.packets), (before, 1));
}

/// Gives every service these flags.
fn with_flags(mut world: World, flags: ServiceFlags) -> World {
    for slot in world.slots.iter_mut().filter(|slot| slot.tail != 0) {
        slot.tail |= flags.0;
    }
    world
}

#[test]
fn what_another_director_has_chosen_is_not_chosen_again() {
    let mut world = with_flags(world(), ServiceFlags::LOCAL);
    world.settings.peer_macs[3] = CLIENT.to_word();
    assert_eq!(run(&mut segment(), &mut world), Reason::Local);
    world.settings.peer_macs[3] = 0;
    assert_eq!(run(&mut segment(), &mut world), Reason::Forwarded);
}

#[test]
fn only_who_is_denied_is_kept_out() {
    for (access, reason) in [(None, Reason::Forwarded), (Some(1), Reason::Forwarded), (Some(2), Reason::AccessDenied)] {
        let mut world = with_flags(world(), ServiceFlags::ACCESS);
        world.access = access;
        assert_eq!(run(&mut segment(), &mut world), reason);
    }
    let mut without_list = world();
    without_list.access = Some(2);
    assert_eq!(run(&mut segment(), &mut without_list), Reason::Forwarded);
}

#[test]
fn a_block_of_ports_is_found_by_each_of_them_and_the_smallest_is_meant() {
    let mut world = world();
    let (seed, service) = (world.settings.slot_seeds[1], ServiceId::new(7).expect("7 is a valid id"));
    for (port, bits, base) in [(8064, 6, 0), (8000, 16, 1)] {
        let key = ServiceKey::v4(VIP, u16::to_be_bytes(port), Protocol::Tcp).block(bits);
        let slot = ServiceSlot::new(key, service, ServiceFlags::default(), RingRange { base, size: 1 });
        world.slots[(SERVICE_SLOTS + key.slot(seed)) as usize] = slot;
        world.settings.port_blocks |= 1 << bits;
    }
    let mac = |last| Bucket::new(RealId::new(9).expect("9 is a valid id"), Mac([2, 0, 0, 0, 0, last]));
    (world.buckets[0], world.buckets[1]) = (mac(1), mac(2));
    for (port, last) in [(8064_u16, 1), (8100, 1), (8127, 1), (8063, 2), (8128, 2), (1, 2), (65_535, 2), (3306, 0xaa)] {
        let mut frame = segment();
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        assert_eq!(run(&mut frame, &mut world), Reason::Forwarded, "{port}");
        assert_eq!(frame[5], last, "{port}");
    }
}

#[test]
fn affinity_by_source_looks_at_the_masked_address_alone() {
    let mut world = with_flags(world(), ServiceFlags::BY_SOURCE);
    let real = RealId::new(9).expect("9 is a valid id");
    world.buckets = (0..=200).map(|last| Bucket::new(real, Mac([2, 0, 0, 0, 0, last]))).collect();
    for slot in world.slots.iter_mut().filter(|slot| slot.tail != 0) {
        slot.ring = RingRange { base: 0, size: 200 }.to_word();
        slot.source_mask = [u64::from_le_bytes([255, 255, 255, 0, 0, 0, 0, 0]), 0];
    }
    let mut went = |client: [u8; 4], port: u8| {
        let mut frame = segment();
        frame[26..30].copy_from_slice(&client);
        frame[35] = port;
        fix_checksum(&mut frame);
        assert_eq!(run(&mut frame, &mut world), Reason::Forwarded);
        frame[5]
    };
    let first = went([10, 0, 0, 1], 1);
    assert!((0..50).all(|n| went([10, 0, 0, n], n) == first));
    let others: Vec<u8> = (0..50).map(|n| went([10, 0, n, 1], 1)).collect();
    assert!(others.iter().filter(|other| **other == first).count() < 10, "{others:?}");
}
