//! The frames of the bench, one a repeat.
//!
//! BPF_PROG_TEST_RUN repeats one frame and does not reset it. So before the measured work each program makes the frame of
//! another flow out of it, and undoes what the last repeat did to its Ethernet and IP headers.

use core::arch::asm;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::wire::{Cursor, Ethernet, Ipv4, Ipv6};
use lb_ebpf::cursor::XdpCursor;

/// What the daemon's side of the bench sets before a run.
#[repr(C)]
pub struct Bench {
    /// Counts repeats.
    next: u64,
    /// Number of flows less one; the number is a power of two.
    flow_mask: u64,
    /// The frame's first twelve bytes, and those from 16 to 28, to be restored: addresses, and whatever the IP header
    /// counts down.
    ethernet: [u64; 2],
    ip: [u64; 2],
}

#[btf_map]
static BENCH: Array<Bench, 1> = Array::new();

/// Odd, so that it permutes the flows: they are not visited in the order in which anything was laid out.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number of the next flow, after the frame is again what it was before the last repeat.
#[inline(always)]
fn next_flow(packet: &mut XdpCursor) -> Option<u64> {
    let bench = BENCH.get_ptr_mut(0)?;
    // SAFETY: valid map memory; a run is on one CPU, and nobody else writes during it.
    let Bench { next, flow_mask, ethernet, ip } = unsafe { &*bench };
    packet.store(Ethernet::DESTINATION, ethernet[0])?;
    packet.store(Ethernet::DESTINATION + 8, ethernet[1] as u32)?;
    packet.store(Ethernet::LEN + 2, ip[0])?;
    packet.store(Ethernet::LEN + 10, ip[1] as u16)?;
    Some(next.wrapping_mul(STRIDE) & flow_mask)
}

/// Counts the repeat, behind all stores to the frame: the atomic add drains them, so that the program does not meet a
/// store-forwarding stall that no real packet causes.
#[inline(always)]
fn drain() -> Option<()> {
    let bench = BENCH.get_ptr_mut(0)?;
    // SAFETY: `next` is a valid, aligned u64 of the map.
    unsafe { fetch_add(&raw mut (*bench).next, 1) };
    Some(())
}

/// Sixteen bits of the flow go into the source address, twice, once inverted, so that the header checksum of every
/// flow is the same; the others into the source port.
#[inline(always)]
pub fn next_v4(packet: &mut XdpCursor) -> Option<()> {
    let flow = next_flow(packet)?;
    let half = flow as u16 as u32;
    packet.store(Ipv4::SOURCE, half | (!half) << 16)?;
    packet.store(Ethernet::LEN + Ipv4::LEN, port(flow))?;
    drain()
}

#[inline(always)]
pub fn next_v6(packet: &mut XdpCursor) -> Option<()> {
    let flow = next_flow(packet)?;
    packet.store(Ipv6::SOURCE + 12, flow as u16 as u32)?;
    packet.store(Ipv6::PAYLOAD, port(flow))?;
    drain()
}

/// Another service, too: one of 512 that the flow's number says, 32 ports from 8000 on of each of 16 vips (10.k.245.255-k:
/// their two halves add up to the same, so that the header checksum fits them all).
#[inline(always)]
pub fn next_of_many_services(packet: &mut XdpCursor) -> Option<()> {
    let flow = next_flow(packet)?;
    // In an order in which neither slots nor counters lie, so that no prefetcher guesses it.
    let service = flow.wrapping_mul(STRIDE) >> 40 & 511;
    let half = flow as u16 as u32;
    packet.store(Ipv4::SOURCE, half | (!half) << 16)?;
    let vip = 10 | (service as u32 >> 5) << 8;
    packet.store(Ipv4::DESTINATION, vip | (!vip) << 16)?;
    let service_port = (8000 + (service & 31) as u16).to_be();
    packet.store(Ethernet::LEN + Ipv4::LEN, port(flow) as u32 | (service_port as u32) << 16)?;
    drain()
}

#[inline(always)]
fn port(flow: u64) -> u16 {
    (0x8000 | (flow >> 16) as u16).to_be()
}

/// In assembly, because the target has no `fetch_add`.
///
/// # Safety
/// `counter` is valid and aligned.
#[inline(always)]
unsafe fn fetch_add(counter: *mut u64, value: u64) {
    // SAFETY: the caller's promise; the verifier checks it.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({counter} + 0), {value})",
            counter = in(reg) counter,
            value = inout(reg) value => _,
        );
    }
}
