//! What xdirector's kernel program and its daemon share, and nothing else: the ABI (all that crosses the kernel
//! boundary) and the datapath (the pure packet pipeline, with the hash and the ring it needs).
//!
//! The crate is `no_std`, allocates nothing and knows no other crate of the workspace. The pipeline runs the same on
//! the host as in the kernel; the host's run is the specification.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod datapath;
pub mod hash;
pub mod reason;
pub mod ring;
pub mod wire;
