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
use lb_common::wire::{Cursor, Ethernet, Ipv4};
use lb_ebpf::cursor::XdpCursor;
use lb_ebpf::program;

/// What the daemon's side of the bench sets before a run.
#[repr(C)]
pub struct Bench {
    /// Counts repeats.
    next: u64,
    /// Number of flows less one; the number is a power of two.
    flow_mask: u64,
    /// The frame's first twelve bytes, to be restored.
    ethernet: [u64; 2],
}

#[btf_map]
static BENCH: Array<Bench, 1> = Array::new();

/// Odd, so that it permutes the flows: they are not visited in the order in which anything was laid out.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next flow's frame. Source addresses 10.0.0.0 and up, sixteen ports each.
#[inline(always)]
fn next_flow(packet: &mut XdpCursor) -> Option<()> {
    let bench = BENCH.get_ptr_mut(0)?;
    // SAFETY: `next` is a valid, aligned u64 of the map.
    let repeat = unsafe { fetch_add(&raw mut (*bench).next, 1) };
    // SAFETY: valid map memory, which nobody writes during a run.
    let (mask, ethernet) = unsafe { ((*bench).flow_mask, (*bench).ethernet) };
    let flow = repeat.wrapping_mul(STRIDE) & mask;
    packet.store(Ethernet::DESTINATION, ethernet[0])?;
    packet.store(Ethernet::DESTINATION + 8, ethernet[1] as u32)?;
    packet.store(Ipv4::SOURCE, 0x0a00_0000_u32.to_be() | ((flow >> 4) as u32).to_be())?;
    packet.store(Ethernet::LEN + 20, (0x8000 | flow as u16 & 0xf).to_be())
}

/// An atomic add, because it drains the stores of the last repeat: no real packet meets a store-forwarding stall on
/// them. In assembly, because the target has no `fetch_add`.
///
/// # Safety
/// `counter` is valid and aligned.
#[inline(always)]
unsafe fn fetch_add(counter: *mut u64, mut value: u64) -> u64 {
    // SAFETY: the caller's promise; the verifier checks it.
    unsafe {
        asm!("{value} = atomic_fetch_add((u64 *)({counter} + 0), {value})", counter = in(reg) counter, value = inout(reg) value)
    };
    value
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

/// The floor that every figure stands beside.
#[xdp]
pub fn floor(ctx: XdpContext) -> u32 {
    let mut packet = XdpCursor::new(&ctx);
    match next_flow(&mut packet).and_then(|()| swap_addresses(&mut packet)) {
        Some(()) => XDP_TX,
        None => XDP_ABORTED,
    }
}

/// The real pipeline, each repeat with another flow.
#[xdp]
pub fn pipeline(ctx: XdpContext) -> u32 {
    match next_flow(&mut XdpCursor::new(&ctx)) {
        Some(()) => program::run(&ctx),
        None => XDP_ABORTED,
    }
}

/// For the peer of a veth whose other end transmits: without a program here its frames do not arrive.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
