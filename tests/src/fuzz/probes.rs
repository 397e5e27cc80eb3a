//! Probes by a vip that are under way, and frames that answer them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use aya::maps::{HashMap, MapData};
use lb_common::abi::{Family, ProbedVip, Protocol, Settings, map};
use lb_common::datapath::probe::{Departure, depart};
use lb_common::wire::Buffer;
use lb_user::dataplane::{HostTables, Kernel, Maps, WordMap};
use lb_user::state::{read_value, words_of};

use super::frames::Random;
use crate::fixture::{INTERFACE, VIP, VIP_6};
use crate::packet::Packet;

/// The director's own addresses.
pub const OWN: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 66, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 2))];
/// A real server's own addresses.
pub const REAL: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 66, 0, 101)), IpAddr::V6(Ipv6Addr::new(0xfd66, 0, 0xffff, 0xfffe, 0, 0, 1, 0x101))];
/// No service has it.
const PORT: u16 = 1080;
/// From here on so many ports, or sequence numbers, are in use.
const FIRST: u16 = 40_000;
const PROBES: u16 = 8;

/// What a probe carries.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A segment.
    Tcp,
    /// A datagram.
    Udp,
    /// An echo.
    Echo,
}

/// All of them.
pub const KINDS: [Kind; 3] = [Kind::Tcp, Kind::Udp, Kind::Echo];

/// A frame of a probe on its way to the real server's own address.
pub fn request(kind: Kind, to: IpAddr, number: u16) -> Vec<u8> {
    let own = OWN[usize::from(to.is_ipv6())];
    frame(kind, (own, FIRST + number), (to, PORT), 8)
}

/// A frame of an answer from the vip.
pub fn answer(kind: Kind, vip: IpAddr, number: u16) -> Vec<u8> {
    let own = OWN[usize::from(vip.is_ipv6())];
    frame(kind, (vip, PORT), (own, FIRST + number), 0)
}

/// An echo has this type over IPv4, and over IPv6 the one that belongs to it.
fn frame(kind: Kind, source: (IpAddr, u16), destination: (IpAddr, u16), echo: u8) -> Vec<u8> {
    let protocol = if matches!(kind, Kind::Tcp) { Protocol::Tcp } else { Protocol::Udp };
    let mut frame = Packet::new(protocol, source, destination).bytes();
    if let Kind::Echo = kind {
        let (number, upper, is_v4) = if source.0.is_ipv4() { (23, 34, true) } else { (20, 54, false) };
        let kind = match (is_v4, echo) {
            (true, echo) => echo,
            (false, 0) => 129,
            (false, _) => 128,
        };
        frame[number] = if is_v4 { 1 } else { 58 };
        let sequence = source.1.max(destination.1).to_be_bytes();
        frame[upper..upper + 8].copy_from_slice(&[kind, 0, 0x12, 0x34, 0, 7, sequence[0], sequence[1]]);
    }
    frame
}

/// What the pipeline says of a request whose destination is to become this vip.
pub fn departure(request: &[u8], vip: IpAddr, maps: &impl Maps) -> Option<Departure> {
    let settings: Settings = read_value(maps.words(WordMap::Settings), 0);
    let family = if vip.is_ipv4() { Family::V4 } else { Family::V6 };
    let mut bytes = request.to_vec();
    depart(&mut Buffer::new(&mut bytes, 0, INTERFACE), &ProbedVip::new(words_of(vip), family), &settings.flow_key)
}

/// Has probes of every kind be under way, on both sides.
///
/// # Errors
/// The kernel's.
pub fn note_all(kernel: &mut Kernel, host: &mut HostTables) -> Result<()> {
    for (vip, real) in [VIP, VIP_6].into_iter().zip(REAL) {
        for (kind, number) in KINDS.into_iter().flat_map(|kind| (0..PROBES).map(move |number| (kind, number))) {
            let departure = departure(&request(kind, real, number), vip, kernel).context("no probe can be sent so")?;
            host.probes.insert(departure.answer, departure.real);
            notes(kernel)?.insert(departure.answer, departure.real, 0)?;
        }
    }
    Ok(())
}

/// The kernel's notes.
///
/// # Errors
/// If the object has none.
pub fn notes(kernel: &mut Kernel) -> Result<HashMap<&mut MapData, u64, [u64; 2]>> {
    let map = kernel.ebpf().map_mut(map::PROBES).context("there is no map of probes")?;
    Ok(HashMap::try_from(map)?)
}

/// Mostly an answer to one of them.
pub fn random_answer(random: &mut Random) -> Vec<u8> {
    let kind = random.pick(&KINDS);
    let mut frame = answer(kind, random.pick(&[VIP, VIP_6]), random.below(u64::from(PROBES) + 2) as u16);
    if random.one_in(8) {
        let at = random.below(frame.len() as u64) as usize;
        frame[at] = random.number() as u8;
    }
    if random.one_in(16) {
        frame.truncate(14 + random.below(frame.len() as u64 - 13) as usize);
    }
    frame
}
