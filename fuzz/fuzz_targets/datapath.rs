//! Any bytes as a frame, through the packet pipeline on the host.
#![no_main]

#[path = "../harness.rs"]
mod harness;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    harness::check(frame);
});
