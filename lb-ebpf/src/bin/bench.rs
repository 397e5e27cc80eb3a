//! Programs for the bench and the lab; none of them is in `xdirector`.
//!
//! The floor makes the same frames as what stands beside it and then only swaps the MACs: what a program costs above it is
//! its own.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../bench/frames.rs"]
mod frames;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use frames::{next_of_many_services, next_v4, next_v6};
use lb_common::wire::{Cursor, Ethernet};
use lb_ebpf::cursor::XdpCursor;
use lb_ebpf::program;

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

/// The floor of frames for many services.
#[xdp]
pub fn floor_services(ctx: XdpContext) -> u32 {
    floor_of(&ctx, next_of_many_services)
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

/// The real pipeline, each repeat with another flow of some service of many.
#[xdp]
pub fn pipeline_services(ctx: XdpContext) -> u32 {
    pipeline_of(&ctx, next_of_many_services)
}

/// For the peer of a veth whose other end transmits: without a program here its frames do not arrive.
#[xdp]
pub fn pass(_ctx: XdpContext) -> u32 {
    XDP_PASS
}
