//! Programs for the bench and the lab; none of them is in `xdirector`.
//!
//! BPF_PROG_TEST_RUN repeats one frame and does not reset it. So before the measured work each program makes the frame
//! of another flow out of it, and undoes what the last repeat did to its Ethernet header. The floor does the same and
//! then swaps the MACs: what a program costs above it is its own.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

use core::arch::asm;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use lb_common::wire::{Cursor, Ethernet, Ipv4, Ipv6};
use lb_ebpf::cursor::XdpCursor;
use lb_ebpf::program;

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
fn next_v4(packet: &mut XdpCursor) -> Option<()> {
    let flow = next_flow(packet)?;
    let half = flow as u16 as u32;
    packet.store(Ipv4::SOURCE, half | (!half) << 16)?;
    packet.store(Ethernet::LEN + Ipv4::LEN, port(flow))?;
    drain()
}

#[inline(always)]
fn next_v6(packet: &mut XdpCursor) -> Option<()> {
    let flow = next_flow(packet)?;
    packet.store(Ipv6::SOURCE + 12, flow as u16 as u32)?;
    packet.store(Ipv6::PAYLOAD, port(flow))?;
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

/// The cheapest thing that sends a frame back: both addresses swapped.
#[inline(always)]
fn swap_addresses(packet: &mut XdpCursor) -> Option<()> {
    let first: u64 = packet.load(Ethernet::DESTINATION)?;
    let last: u32 = packet.load(Ethernet::DESTINATION + 8)?;
    let destination = first & 0xffff_ffff_ffff;
    let source = first >> 48 | (last as u64) << 16;
    packet.store(Ethernet::DESTINATION, source | destination << 48)?;
    packet.store(Ethernet::DESTINATION + 8, (destination >> 16) as u32)
}

#[inline(always)]
fn floor_of(ctx: &XdpContext, next: impl FnOnce(&mut XdpCursor) -> Option<()>) -> u32 {
    let mut packet = XdpCursor::new(ctx);
    match next(&mut packet).and_then(|()| swap_addresses(&mut packet)) {
        Some(()) => XDP_TX,
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn pipeline_of(ctx: &XdpContext, next: impl FnOnce(&mut XdpCursor) -> Option<()>) -> u32 {
    match next(&mut XdpCursor::new(ctx)) {
        Some(()) => program::run(ctx),
        None => XDP_ABORTED,
    }
}

/// The floor that every IPv4 figure stands beside.
#[xdp]
pub fn floor_v4(ctx: XdpContext) -> u32 {
    floor_of(&ctx, next_v4)
}

/// The floor that every IPv6 figure stands beside.
#[xdp]
pub fn floor_v6(ctx: XdpContext) -> u32 {
    floor_of(&ctx, next_v6)
}

/// The real pipeline, each repeat with another IPv4 flow.
#[xdp]
pub fn pipeline_v4(ctx: XdpContext) -> u32 {
    pipeline_of(&ctx, next_v4)
}

/// The real pipeline, each repeat with another IPv6 flow.
#[xdp]
pub fn pipeline_v6(ctx: XdpContext) -> u32 {
    pipeline_of(&ctx, next_v6)
}

/// For the peer of a veth whose other end transmits: without a program here its frames do not arrive.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
