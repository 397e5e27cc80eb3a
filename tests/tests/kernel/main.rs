//! The kernel program against its specification. Needs root.

mod differential;
mod egress;
mod program;
mod signals;
mod timing;
