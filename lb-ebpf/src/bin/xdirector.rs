//! The program that is embedded in `xdirector`.
#![no_std]
#![no_main]

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// For every frame that arrives.
#[xdp]
pub fn xdirector(ctx: XdpContext) -> u32 {
    lb_ebpf::program::run(&ctx)
}
