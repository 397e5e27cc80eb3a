//! `cargo xtask bench`: what a packet costs, in ns, beside the cheapest program there can be.
//!
//! BPF_PROG_TEST_RUN, in CPU time of the thread. Each case runs beside its floor, which makes the same frames and only
//! swaps the MACs. Several fresh processes measure, because a process's memory layout alone moves the floor by a third;
//! within one, the cases are shuffled and case and floor take turns. Minimum and median over all samples are shown.

pub mod case;
pub mod measure;
pub mod report;
