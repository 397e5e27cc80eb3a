//! The kernel program against its specification. Needs root.

mod differential;
mod program;
mod timing;
