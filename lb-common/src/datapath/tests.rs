//! The pipeline on the host, over tables small enough to read.

use super::*;
use crate::abi::limits::{MAX_OWN_MACS, SERVICE_SLOTS};
use crate::abi::{Counter, Mac, Protocol, RingRange, ServiceKey, VERSION};
use crate::hash::FlowKey;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 0xd1]);
const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 0xc1]);
const REAL: Mac = Mac([2, 0, 0, 0, 0, 0xaa]);
const VIP: [u8; 4] = [192, 168, 81, 100];

struct World {
    settings: Settings,
    slots: Vec<ServiceSlot>,
    buckets: Vec<Bucket>,
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

    fn count_reason(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }

    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64) {
        assert_eq!((service.index(), real.index()), (7, 9));
        self.counter.packets += 1;
        self.counter.bytes += bytes;
    }
}

/// One service, VIP:3306/tcp, id 7, with a ring of one bucket that real server 9 owns.
fn world() -> World {
    let key = ServiceKey::v4(VIP, 3306_u16.to_be_bytes(), Protocol::Tcp);
    let seed = 0x9e37_79b9_7f4a_7c15;
    let mut own_macs = [0; MAX_OWN_MACS];
    own_macs[1] = OWN.to_word();
    let settings = Settings {
        version: VERSION.into(),
        active_half: 1,
        slot_seeds: [1, seed],
        hash_seed: 5,
        flow_key: FlowKey::from_seed(5),
        own_macs,
    };
    let mut slots = vec![ServiceSlot::default(); 2 * SERVICE_SLOTS as usize];
    let service = ServiceId::new(7).expect("7 is a valid id");
    slots[(SERVICE_SLOTS + key.slot(seed)) as usize] = ServiceSlot::new(key, service, RingRange { base: 2, size: 1 });
    let real = RealId::new(9).expect("9 is a valid id");
    let buckets = vec![Bucket::UNWRITTEN, Bucket::UNWRITTEN, Bucket::new(real, REAL)];
    World { settings, slots, buckets, reasons: Vec::new(), counter: Counter::default() }
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
    frame
}

#[test]
fn sends_a_clients_segment_to_the_real_server_and_changes_only_the_addresses() {
    let (mut world, before) = (world(), segment());
    let mut frame = before.clone();
    assert_eq!(process(frame.as_mut_slice(), &mut world), Reason::Forwarded);
    assert_eq!(frame[..6], REAL.0);
    assert_eq!(frame[6..12], OWN.0);
    assert_eq!(frame[12..], before[12..]);
    assert_eq!(world.counter, Counter { packets: 1, bytes: before.len() as u64 });
    assert_eq!(world.reasons, [Reason::Forwarded]);
}

#[test]
fn options_before_the_ports_do_not_hide_them() {
    let mut frame = segment();
    frame[14] = 0x46;
    frame.splice(34..34, [1, 1, 1, 0]);
    assert_eq!(process(frame.as_mut_slice(), &mut world()), Reason::Forwarded);
}

/// Each row changes one thing, of the packet or of the world.
#[test]
fn every_other_packet_is_left_as_it_was_with_its_reason() {
    type Change = fn(&mut Vec<u8>, &mut World);
    let rows: &[(&str, Change, Reason)] = &[
        ("ARP", |frame, _| frame[13] = 6, Reason::NotBalanced),
        ("IPv6 version in an IPv4 frame", |frame, _| frame[14] = 0x65, Reason::NotBalanced),
        ("header length below five", |frame, _| frame[14] = 0x44, Reason::NotBalanced),
        ("ICMP", |frame, _| frame[23] = 1, Reason::NotBalanced),
        ("cut within the ports", |frame, _| frame.truncate(37), Reason::NotBalanced),
        ("cut within the IP header", |frame, _| frame.truncate(20), Reason::NotBalanced),
        ("empty", |frame, _| frame.clear(), Reason::NotBalanced),
        ("first fragment", |frame, _| frame[20] = 0x20, Reason::Fragment),
        ("later fragment", |frame, _| frame[21] = 1, Reason::Fragment),
        ("another address", |frame, _| frame[33] = 101, Reason::NoService),
        ("another port", |frame, _| frame[37] ^= 1, Reason::NoService),
        ("another protocol", |frame, _| frame[23] = 17, Reason::NoService),
        ("another machine's MAC", |frame, _| frame[5] ^= 1, Reason::Overheard),
        ("broadcast", |frame, _| frame[..6].fill(0xff), Reason::Overheard),
        ("all-zero MAC", |frame, _| frame[..6].fill(0), Reason::Overheard),
        ("no usable real server", |_, world| world.buckets[2] = Bucket::EMPTY, Reason::NoUsableReal),
        ("unwritten bucket", |_, world| world.buckets[2] = Bucket::UNWRITTEN, Reason::UnwrittenBucket),
        ("ring beyond the map", |_, world| world.buckets.truncate(2), Reason::UnwrittenBucket),
        ("no settings yet", |_, world| world.settings.version = 0, Reason::NotConfigured),
        ("the other half is active", |_, world| world.settings.active_half = 0, Reason::NoService),
    ];
    for (name, change, reason) in rows {
        let (mut frame, mut world) = (segment(), world());
        change(&mut frame, &mut world);
        let before = frame.clone();
        assert_eq!(process(frame.as_mut_slice(), &mut world), *reason, "{name}");
        assert_eq!(frame, before, "{name}: the packet was changed");
        assert_eq!(world.reasons, [*reason], "{name}");
        assert_eq!(world.counter, Counter::default(), "{name}");
    }
}
