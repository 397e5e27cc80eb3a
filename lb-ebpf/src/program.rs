//! Entry and exit: context in, verdict out.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::programs::XdpContext;
use lb_common::datapath::{Tables, process};
use lb_common::reason::Action;

use crate::cursor::XdpCursor;
use crate::maps::{KernelTables, redirect};

/// Runs the pipeline on one frame and says what the kernel is to do with it.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> u32 {
    run_over(ctx, &mut KernelTables::new(ctx.ctx))
}

/// The same over other tables, which the bench has.
#[inline(always)]
pub fn run_over(ctx: &XdpContext, tables: &mut impl Tables) -> u32 {
    let outcome = process(&mut XdpCursor::new(ctx), tables);
    match outcome.reason.action() {
        Action::Transmit => outcome.interface.map_or(XDP_TX, redirect),
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
    }
}
