//! The programs that are embedded in `xdirector`.
#![no_std]
#![no_main]

use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// For every frame that arrives.
#[xdp]
pub fn xdirector(ctx: XdpContext) -> u32 {
    lb_ebpf::program::run(&ctx)
}

/// For every frame that this machine itself sends, where some health check goes by a vip.
#[classifier]
pub fn xdirector_egress(ctx: TcContext) -> i32 {
    lb_ebpf::skb::leave(&ctx)
}
