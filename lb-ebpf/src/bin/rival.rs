//! What we measure ourselves against: the flow table that other balancers have, one LRU hash entry for each flow.
//!
//! It is kept as cheap as such a program can be, so that the comparison flatters nobody: IPv4 and TCP only, no look-up of the
//! service, no judging, no time to live, one counter, the smallest key that holds all five fields. An object of its own,
//! because its table is large.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../bench/frames.rs"]
#[expect(dead_code, reason = "only IPv4 frames for one service are needed here")]
mod frames;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::{LruHashMap, PerCpuArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frames::next_v4;
use lb_common::abi::{Mac, Protocol};
use lb_common::hash::{mix, reduce};
use lb_common::wire::{Cursor, Ethernet, Ipv4};
use lb_ebpf::cursor::XdpCursor;

/// Who talks to whom.
#[repr(C)]
pub struct FiveTuple {
    source: u32,
    destination: u32,
    ports: u32,
    protocol: u32,
}

/// The real server's MAC, in the low 48 bits.
type RealMac = u64;

#[btf_map]
static FLOWS: LruHashMap<FiveTuple, RealMac, 1_048_576> = LruHashMap::new();
/// How many frames found their flow (0), and how many did not (1).
#[btf_map]
static FOUND: PerCpuArray<u64, 2> = PerCpuArray::new();

const REALS: u32 = 100;

/// Each repeat with another IPv4 flow.
#[xdp]
pub fn lru_rival(ctx: XdpContext) -> u32 {
    let mut packet = XdpCursor::new(&ctx);
    match next_v4(&mut packet) {
        Some(()) => forward(&mut packet).unwrap_or(XDP_PASS),
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn forward(packet: &mut XdpCursor) -> Option<u32> {
    let flow = parse(packet)?;
    // SAFETY: the value is copied at once, as one word.
    let known = unsafe { FLOWS.get(&flow) }.copied();
    count(known.is_none() as u32);
    let destination = match known {
        Some(destination) => destination,
        None => remember(&flow),
    };
    let own = packet.load::<u64>(Ethernet::DESTINATION)? & 0xffff_ffff_ffff;
    packet.store(Ethernet::DESTINATION, destination | own << 48)?;
    packet.store(Ethernet::DESTINATION + 8, (own >> 16) as u32)?;
    Some(XDP_TX)
}

/// `None`: no TCP over IPv4 without options.
#[inline(always)]
fn parse(packet: &XdpCursor) -> Option<FiveTuple> {
    let ports = packet.load(Ethernet::LEN + Ipv4::LEN)?;
    let ether_type: u16 = packet.load(Ethernet::TYPE)?;
    let first: u8 = packet.load(Ipv4::FIRST)?;
    let fragment: u32 = packet.load(Ipv4::FRAGMENT)?;
    let protocol: u8 = packet.load(Ipv4::TTL + 1)?;
    let plain = first == 0x45 && fragment & Ipv4::FRAGMENT_MASK == 0;
    (ether_type == Ethernet::IPV4 && plain && protocol == Protocol::Tcp as u8).then_some(())?;
    let (source, destination) = (packet.load(Ipv4::SOURCE)?, packet.load(Ipv4::DESTINATION)?);
    Some(FiveTuple { source, destination, ports, protocol: protocol as u32 })
}

#[inline(always)]
fn remember(flow: &FiveTuple) -> RealMac {
    let hash = mix((flow.source as u64) << 32 | flow.ports as u64) as u32;
    let [low, high] = (reduce(hash, REALS) as u16).to_le_bytes();
    let mac = Mac([2, 0, 0, 1, high, low]).to_word();
    // A table that is full forgets the least used; there is no other failure.
    let _ = FLOWS.insert(flow, mac, 0);
    mac
}

#[inline(always)]
fn count(which: u32) {
    if let Some(count) = FOUND.get_ptr_mut(which) {
        // SAFETY: a valid slot of this CPU's copy; XDP does not interrupt itself on a CPU.
        unsafe { *count += 1 };
    }
}
