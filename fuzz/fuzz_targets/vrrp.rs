//! Any bytes as an IP packet, through the VRRP codec and its machine.
#![no_main]

#[path = "../vrrp.rs"]
mod vrrp;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    vrrp::check(packet);
});
