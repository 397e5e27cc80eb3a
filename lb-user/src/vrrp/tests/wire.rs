//! The codec and the announcements, against what keepalived and FRR send.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use lb_common::abi::Mac;
use proptest::prelude::*;

use super::captured::{Frame, frames};
use crate::vrrp::announce::{ARP_BYTES, Family, NA_BYTES, Sender, gratuitous_arp, unsolicited_na, virtual_mac};
use crate::vrrp::packet::*;

const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 81, 11);
const OVER_V4: Endpoints = Endpoints::V4 { source: SOURCE, destination: GROUP_V4 };
const OVER_V6: Endpoints = Endpoints::V6 { source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), destination: GROUP_V6 };
const VRID: NonZeroU8 = NonZeroU8::new(66).unwrap();
const ONE: NonZeroU8 = NonZeroU8::new(1).unwrap();
const SECOND: Centiseconds = Centiseconds::new(100).unwrap();

/// All adverts that are plain ones: those with keepalived's trailer of its own make are left out.
fn adverts() -> Vec<Frame> {
    let adverts: Vec<_> = frames(" ADVERT").into_iter().filter(|frame| !frame.title.contains("auth_hmac")).collect();
    assert_eq!(adverts.len(), 29);
    adverts
}

fn open(frame: &Frame) -> (Envelope, &[u8]) {
    let opened =
        if frame.is_ipv6() { Envelope::open_ipv6(frame.packet()) } else { Envelope::open_ipv4(frame.packet()) };
    opened.unwrap_or_else(|error| panic!("{}: {error}", frame.title))
}

/// The message of an advert that has every field as it should be.
fn message(dialect: Dialect, endpoints: &Endpoints) -> Vec<u8> {
    let addresses = match endpoints {
        Endpoints::V4 { .. } => Addresses::V4(&[[192, 168, 81, 100]]),
        Endpoints::V6 { .. } => Addresses::V6(&[[0xfe; 16]]),
    };
    let mut message = Vec::new();
    Advert { vrid: VRID, priority: 100, dialect, addresses }.encode(endpoints, &mut message).unwrap();
    message
}

const V2: Dialect = Dialect::V2 { seconds: ONE, auth: Auth::None };
const V3: Dialect = Dialect::V3 { interval: SECOND, coverage: Coverage::WithPseudoHeader };

/// Changes bytes and makes the checksum right again.
fn edited(mut message: Vec<u8>, edits: &[(usize, u8)]) -> Vec<u8> {
    for (at, value) in edits {
        message[*at] = *value;
    }
    message[6..8].fill(0);
    let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    message[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    message
}

/// Makes the checksum cover the pseudo-header of IPv4 too.
fn with_pseudo_header(message: Vec<u8>) -> Vec<u8> {
    let pseudo = [&SOURCE.octets()[..], &GROUP_V4.octets(), &[0, PROTOCOL, 0, message.len() as u8]].concat();
    // Summed as if it came last; the order does not matter.
    let summed = edited([message.clone(), pseudo].concat(), &[]);
    [&message[..6], &summed[6..8], &message[8..]].concat()
}

const fn from(endpoints: Endpoints) -> Envelope {
    Envelope { endpoints, ttl: TTL }
}

#[test]
fn every_captured_advert_is_read_as_the_capture_says() {
    for frame in adverts() {
        let (envelope, message) = open(&frame);
        let advert = decode(message, &envelope).unwrap_or_else(|error| panic!("{}: {error}", frame.title));
        assert_eq!(u16::from(advert.vrid.get()), frame.number("vrid"), "{}", frame.title);
        assert_eq!(u16::from(advert.priority), frame.number("prio"), "{}", frame.title);
        assert_eq!(advert.addresses.len(), usize::from(frame.number("naddr")), "{}", frame.title);
        for address in advert.addresses.iter() {
            assert!(["192.168.81.100", "fe80::100", "fd00:81::100"].contains(&address.to_string().as_str()));
        }
        match advert.dialect {
            Dialect::V2 { seconds, auth } => {
                assert_eq!(format!("{seconds}s"), frame.field("adver_int"), "{}", frame.title);
                let expected =
                    if frame.number("auth_type") == 1 { Auth::Pass(Password::new(b"1111")) } else { Auth::None };
                assert_eq!(auth, expected, "{}", frame.title);
            }
            Dialect::V3 { interval, coverage } => {
                assert_eq!(format!("{}cs", interval.number()), frame.field("max_adver_int"), "{}", frame.title);
                let bare = frame.title.contains("rfc9568");
                assert_eq!(coverage == Coverage::MessageOnly, bare, "{}", frame.title);
            }
        }
    }
}

#[test]
fn every_captured_advert_is_written_byte_for_byte() {
    for frame in adverts() {
        let (envelope, message) = open(&frame);
        let mut written = vec![0xaa];
        decode(message, &envelope).unwrap().encode(&envelope.endpoints, &mut written).unwrap();
        assert_eq!(written[1..], *message, "{}", frame.title);
    }
}

#[test]
fn every_captured_advert_is_framed_byte_for_byte() {
    for frame in adverts() {
        let (envelope, message) = open(&frame);
        let advert = decode(message, &envelope).unwrap();
        let mac = Mac(frame.bytes[6..12].try_into().unwrap());
        let (mut written, mut expected) = (vec![0xaa], frame.bytes.clone());
        match envelope.endpoints {
            Endpoints::V4 { source, .. } => {
                let id = u16::from_be_bytes([frame.bytes[18], frame.bytes[19]]);
                advert.frame_v4(mac, source, id, &mut written).unwrap();
                // FRR forbids fragments, which is part of the header's checksum.
                if frame.bytes[20] == 0x40 {
                    expected[20] = 0;
                    expected[24..26].copy_from_slice(&written[25..27]);
                }
            }
            Endpoints::V6 { source, .. } => {
                advert.frame_v6(mac, source, &mut written).unwrap();
                // The flow label is the kernel's.
                expected[15] &= 0xf0;
                expected[16..18].fill(0);
            }
        }
        assert_eq!(written[1..], expected, "{}", frame.title);
        assert_eq!(advert.frame_bytes(), expected.len());
        let reopened =
            if frame.is_ipv6() { Envelope::open_ipv6(&written[15..]) } else { Envelope::open_ipv4(&written[15..]) };
        assert_eq!(reopened, Ok((envelope, message)));
    }
}

#[test]
fn every_captured_announcement_is_written_byte_for_byte() {
    for frame in frames("GRATUITOUS_ARP") {
        let mut written = Vec::with_capacity(ARP_BYTES);
        gratuitous_arp(Mac(frame.bytes[6..12].try_into().unwrap()), Ipv4Addr::new(192, 168, 81, 100), &mut written);
        assert_eq!(written, frame.bytes, "{}", frame.title);
        assert_eq!(written.len(), ARP_BYTES);
    }
    for frame in frames("UNSOLICITED_NA") {
        let sender = if frame.number("R") == 1 { Sender::Router } else { Sender::Host };
        let mut written = Vec::with_capacity(NA_BYTES);
        let mac = Mac(frame.bytes[6..12].try_into().unwrap());
        unsolicited_na(mac, frame.field("target").parse().unwrap(), sender, &mut written);
        assert_eq!(written, frame.bytes, "{}", frame.title);
        assert_eq!(written.len(), NA_BYTES);
    }
}

#[test]
fn virtual_macs_are_those_of_the_captured_ones() {
    assert_eq!(virtual_mac(Family::V4, VRID), Mac([0, 0, 0x5e, 0, 1, 0x42]));
    assert_eq!(virtual_mac(Family::V6, VRID), Mac([0, 0, 0x5e, 0, 2, 0x42]));
}

#[test]
fn keepalived_s_own_trailer_is_refused_by_its_length() {
    for frame in frames("ka-v3-auth_hmac ADVERT") {
        let (envelope, message) = open(&frame);
        assert_eq!(decode(message, &envelope), Err(PacketError::Count { count: 1, bytes: 40 }));
    }
}

#[test]
fn every_truncation_is_refused() {
    for frame in adverts() {
        let (envelope, message) = open(&frame);
        for end in 0..message.len() {
            let error = decode(&message[..end], &envelope).unwrap_err();
            let by_length = matches!(error, PacketError::TooShort { .. } | PacketError::Count { .. });
            assert!(by_length, "{} cut at {end}: {error}", frame.title);
        }
        for end in 0..frame.packet().len() {
            let packet = &frame.packet()[..end];
            let opened = if frame.is_ipv6() { Envelope::open_ipv6(packet) } else { Envelope::open_ipv4(packet) };
            assert_eq!(opened, Err(EnvelopeError::TooShort), "{} cut at {end}", frame.title);
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for frame in adverts() {
        let (envelope, message) = open(&frame);
        for bit in 0..message.len() * 8 {
            let mut flipped = message.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, &envelope).is_err(), "{}, bit {bit}", frame.title);
        }
    }
}

/// The pseudo-header makes the checksum see the addresses too; where there is none, nothing does.
#[test]
fn a_flipped_bit_of_the_addresses_is_seen_where_the_pseudo_header_is_summed() {
    for frame in adverts() {
        let (start, end) = if frame.is_ipv6() { (8, 40) } else { (12, 20) };
        let (envelope, message) = open(&frame);
        let covered = matches!(
            decode(message, &envelope).unwrap().dialect,
            Dialect::V3 { coverage: Coverage::WithPseudoHeader, .. }
        );
        for bit in start * 8..end * 8 {
            let mut flipped = frame.packet().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = if frame.is_ipv6() { Envelope::open_ipv6(&flipped) } else { Envelope::open_ipv4(&flipped) };
            let (envelope, message) = opened.unwrap();
            let expected = if covered { Err(PacketError::Checksum) } else { Ok(()) };
            assert_eq!(decode(message, &envelope).map(drop), expected, "{}, bit {bit}", frame.title);
        }
    }
}

#[test]
fn each_fault_has_its_error() {
    let v2 = || message(V2, &OVER_V4);
    let v3 = || message(V3, &OVER_V4);
    let rows = [
        (vec![], PacketError::TooShort { bytes: 0 }),
        (v3()[..7].to_vec(), PacketError::TooShort { bytes: 7 }),
        (edited(v2(), &[(0, 0x11)]), PacketError::Version(1)),
        (edited(v3(), &[(0, 0x41)]), PacketError::Version(4)),
        (edited(v3(), &[(0, 0x32)]), PacketError::Type(2)),
        (edited(v2(), &[(0, 0x20)]), PacketError::Type(0)),
        (edited(v2(), &[(3, 2)]), PacketError::Count { count: 2, bytes: 20 }),
        (edited(v3(), &[(3, 0)]), PacketError::Count { count: 0, bytes: 12 }),
        (edited([v3(), vec![0; 2]].concat(), &[]), PacketError::Count { count: 1, bytes: 14 }),
        (v2()[..12].to_vec(), PacketError::Count { count: 1, bytes: 12 }),
        (edited(v3()[..8].to_vec(), &[(3, 0)]), PacketError::NoAddress),
        (edited(v2(), &[(1, 0)]), PacketError::Vrid),
        (edited(v3(), &[(1, 0)]), PacketError::Vrid),
        (edited(v2(), &[(4, 2)]), PacketError::AuthType(2)),
        (edited(v2(), &[(5, 0)]), PacketError::Interval),
        (edited(v3(), &[(4, 0), (5, 0)]), PacketError::Interval),
        (edited(v3(), &[(4, 0xf0), (5, 0)]), PacketError::Interval),
    ];
    for (message, error) in rows {
        assert_eq!(decode(&message, &from(OVER_V4)), Err(error), "{message:02x?}");
    }
    assert_eq!(decode(&v3(), &Envelope { ttl: 254, ..from(OVER_V4) }), Err(PacketError::Ttl(254)));
    assert_eq!(decode(&v2(), &from(OVER_V6)), Err(PacketError::FamilyOfVersion2));
    let bare = message(Dialect::V3 { interval: SECOND, coverage: Coverage::MessageOnly }, &OVER_V6);
    assert!(decode(&bare, &from(OVER_V6)).is_ok(), "over IPv6 there is one form only");
    assert_eq!(decode(&edited(bare, &[]), &from(OVER_V6)), Err(PacketError::Checksum));
    assert_eq!(decode(&with_pseudo_header(v2()), &from(OVER_V4)), Err(PacketError::Checksum), "version 2 has none");
    assert!(decode(&with_pseudo_header(v3()), &from(OVER_V4)).is_ok());
}

#[test]
fn what_other_implementations_send_is_let_pass() {
    let none = edited([&message(V2, &OVER_V4)[..8], &[0; 8]].concat(), &[(3, 0)]);
    assert!(decode(&none, &from(OVER_V4)).unwrap().addresses.is_empty(), "version 2 without a vip");
    let reserved = edited(message(V3, &OVER_V4), &[(4, 0xf0)]);
    assert_eq!(decode(&reserved, &from(OVER_V4)).unwrap().dialect.interval(), SECOND.duration());
    let noise = edited(message(V2, &OVER_V4), &[(19, 7)]);
    assert_eq!(decode(&noise, &from(OVER_V4)).unwrap().dialect, V2, "data without authentication is ignored");
}

#[test]
fn an_envelope_that_holds_no_advert_says_why() {
    let frames = adverts();
    let good = frames[0].packet();
    let rows: [(usize, u8, EnvelopeError); 6] = [
        (0, 0x65, EnvelopeError::Header),
        (0, 0x44, EnvelopeError::Header),
        (3, 19, EnvelopeError::Header),
        (6, 0x20, EnvelopeError::Fragment),
        (7, 0x01, EnvelopeError::Fragment),
        (9, 17, EnvelopeError::Protocol(17)),
    ];
    for (at, value, error) in rows {
        let mut packet = good.to_vec();
        packet[at] = value;
        assert_eq!(Envelope::open_ipv4(&packet), Err(error), "byte {at}");
    }
    let padded = [good, &[0; 6]].concat();
    assert_eq!(Envelope::open_ipv4(&padded).unwrap().1.len(), 20, "padding is no part of it");
    let six = frames.iter().find(|frame| frame.is_ipv6()).unwrap().packet();
    assert_eq!(Envelope::open_ipv6(&[&[0x45], &six[1..]].concat()), Err(EnvelopeError::Header));
    assert_eq!(Envelope::open_ipv6(&[&six[..6], &[0], &six[7..]].concat()), Err(EnvelopeError::Protocol(0)));
}

#[test]
fn what_cannot_be_said_is_refused_and_leaves_the_buffer_alone() {
    let many = [[0; 4]; 256];
    let advert = |dialect, addresses| Advert { vrid: VRID, priority: 1, dialect, addresses };
    let rows = [
        (advert(V3, Addresses::V4(&many)), OVER_V4, EncodeError::TooManyAddresses(256)),
        (advert(V3, Addresses::V4(&many[..1])), OVER_V6, EncodeError::Family),
        (advert(V3, Addresses::V6(&[])), OVER_V4, EncodeError::Family),
        (advert(V2, Addresses::V6(&[])), OVER_V6, EncodeError::Family),
    ];
    for (advert, endpoints, error) in rows {
        let mut buffer = vec![1];
        assert_eq!(advert.encode(&endpoints, &mut buffer), Err(error));
        assert_eq!(buffer, [1]);
    }
    let mut buffer = vec![1];
    let mac = virtual_mac(Family::V4, VRID);
    assert_eq!(advert(V3, Addresses::V6(&[])).frame_v4(mac, SOURCE, 1, &mut buffer), Err(EncodeError::Family));
    assert_eq!(
        advert(V3, Addresses::V4(&[])).frame_v6(mac, Ipv6Addr::LOCALHOST, &mut buffer),
        Err(EncodeError::Family)
    );
    assert_eq!(buffer, [1]);
    assert!(advert(V3, Addresses::V4(&many[..255])).encode(&OVER_V4, &mut Vec::new()).is_ok());
}

#[test]
fn a_buffer_with_room_is_not_moved() {
    let message = message(V2, &OVER_V4);
    let advert = decode(&message, &from(OVER_V4)).unwrap();
    let mut buffer = Vec::with_capacity(message.len());
    let before = buffer.as_ptr();
    for _ in 0..3 {
        buffer.clear();
        advert.encode(&OVER_V4, &mut buffer).unwrap();
        assert_eq!((buffer.as_ptr(), &buffer), (before, &message));
    }
}

#[test]
fn intervals_are_what_the_field_can_hold() {
    assert_eq!([0, 1, 4095, 4096].map(|number| Centiseconds::new(number).is_some()), [false, true, true, false]);
    assert_eq!(SECOND.duration(), std::time::Duration::from_secs(1));
}

#[test]
fn lists_of_addresses_are_compared_as_sets() {
    let (one, two, three) = ([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]);
    let list = [one, two];
    assert!(Addresses::V4(&list).same_set(&Addresses::V4(&[two, one])));
    assert!(!Addresses::V4(&list).same_set(&Addresses::V4(&[one, three])));
    assert!(!Addresses::V4(&list).same_set(&Addresses::V4(&[one, one])));
    assert!(!Addresses::V4(&[one, one]).same_set(&Addresses::V4(&list)));
    assert!(!Addresses::V4(&list).same_set(&Addresses::V4(&[one])));
    assert!(!Addresses::V4(&list).same_set(&Addresses::V6(&[[0; 16]; 2])));
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let auth = prop_oneof![Just(Auth::None), any::<[u8; 8]>().prop_map(|bytes| Auth::Pass(Password::new(&bytes)))];
    let v2 = (1u8..=255, auth).prop_map(|(s, auth)| Dialect::V2 { seconds: NonZeroU8::new(s).unwrap(), auth });
    let coverage = prop_oneof![Just(Coverage::WithPseudoHeader), Just(Coverage::MessageOnly)];
    let v3 = (1u16..=4095, coverage)
        .prop_map(|(cs, coverage)| Dialect::V3 { interval: Centiseconds::new(cs).unwrap(), coverage });
    prop_oneof![v2, v3]
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        v6 in any::<bool>(),
    ) {
        let endpoints = if v6 { OVER_V6 } else { OVER_V4 };
        let _ = decode(&bytes, &from(endpoints));
        let _ = Envelope::open_ipv4(&bytes);
        let _ = Envelope::open_ipv6(&bytes);
    }

    #[test]
    fn what_is_written_is_read_back(
        vrid in 1u8..=255,
        priority in any::<u8>(),
        dialect in dialects(),
        list in prop::collection::vec(any::<[u8; 4]>(), 1..=255),
    ) {
        let addresses = Addresses::V4(&list);
        let advert = Advert { vrid: NonZeroU8::new(vrid).unwrap(), priority, dialect, addresses };
        let mut message = Vec::new();
        advert.encode(&OVER_V4, &mut message).unwrap();
        prop_assert_eq!(decode(&message, &from(OVER_V4)), Ok(advert));
    }

    #[test]
    fn over_ipv6_what_is_written_is_read_back(
        priority in any::<u8>(),
        interval in 1u16..=4095,
        list in prop::collection::vec(any::<[u8; 16]>(), 1..=255),
    ) {
        let dialect = Dialect::V3 { interval: Centiseconds::new(interval).unwrap(), coverage: Coverage::WithPseudoHeader };
        let advert = Advert { vrid: VRID, priority, dialect, addresses: Addresses::V6(&list) };
        let mut message = Vec::new();
        advert.encode(&OVER_V6, &mut message).unwrap();
        prop_assert_eq!(decode(&message, &from(OVER_V6)), Ok(advert));
    }
}
