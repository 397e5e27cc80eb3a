//! What is measured.

use std::net::Ipv4Addr;

use aya_verdict::{PASS, TX};
use lb_common::abi::Protocol;

use crate::fixture::{PORT, UDP_PORT, VIP};
use crate::packet::Packet;

/// XDP's verdicts as BPF_PROG_TEST_RUN returns them.
pub mod aya_verdict {
    /// XDP_PASS.
    pub const PASS: u32 = 2;
    /// XDP_TX.
    pub const TX: u32 = 3;
}

/// One row of the bench.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, as in the JSON.
    pub name: &'static str,
    /// How many flows the frames are spread over; a power of two.
    pub flows: u64,
    /// The program in the bench object that is measured.
    pub program: &'static str,
    /// The frame; its source address and port are overwritten for each flow.
    pub frame: Vec<u8>,
    /// The verdict that every frame must get.
    pub verdict: u32,
}

/// All of them.
pub fn all() -> Vec<Case> {
    let client = (Ipv4Addr::new(10, 0, 0, 1), 40_000);
    let to = |protocol, destination| Packet::new(protocol, client, destination).bytes();
    let tcp = to(Protocol::Tcp, (VIP, PORT));
    let udp = to(Protocol::Udp, (VIP, UDP_PORT));
    let mut arp = tcp.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let elsewhere = to(Protocol::Tcp, (Ipv4Addr::new(10, 66, 0, 2), PORT));
    let other_port = to(Protocol::Tcp, (VIP, 22));

    let forwarded = [("v4-tcp", &tcp), ("v4-udp", &udp)];
    let sizes = [1, 65_536, 1_048_576];
    let mut cases: Vec<Case> = forwarded
        .into_iter()
        .flat_map(|(name, frame)| {
            sizes.map(|flows| Case { name, flows, program: "pipeline", frame: frame.clone(), verdict: TX })
        })
        .collect();
    for (name, frame) in [("not-ours-arp", arp), ("not-ours-address", elsewhere), ("not-ours-port", other_port)] {
        cases.push(Case { name, flows: 1, program: "pipeline", frame, verdict: PASS });
    }
    // What BPF_PROG_TEST_RUN itself costs on this machine: that much of every figure, the floor's too, is not ours.
    cases.push(Case { name: "empty-program", flows: 1, program: "pass", frame: tcp, verdict: PASS });
    cases
}
