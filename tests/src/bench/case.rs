//! What is measured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya_verdict::{PASS, TX};
use lb_common::abi::Protocol;

use crate::fixture::{PORT, UDP_PORT, VIP, VIP_6};
use crate::packet::Packet;

/// XDP's verdicts as BPF_PROG_TEST_RUN returns them.
pub mod aya_verdict {
    /// XDP_PASS.
    pub const PASS: u32 = 2;
    /// XDP_TX.
    pub const TX: u32 = 3;
    /// XDP_DROP.
    pub const DROP: u32 = 1;
    /// XDP_REDIRECT.
    pub const REDIRECT: u32 = 4;
}

/// One row of the bench.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, as in the JSON.
    pub name: &'static str,
    /// How many flows the frames are spread over; a power of two.
    pub flows: u64,
    /// The program in the bench object that it stands beside.
    pub floor: &'static str,
    /// The program in the bench object that is measured.
    pub program: &'static str,
    /// The frame; its source address and port are overwritten for each flow.
    pub frame: Vec<u8>,
    /// The verdict that every frame must get.
    pub verdict: u32,
}

impl Case {
    fn new(name: &'static str, flows: u64, frame: &[u8], verdict: u32) -> Self {
        Self { name, flows, floor: "floor_v4", program: "pipeline_v4", frame: frame.to_vec(), verdict }
    }

    fn v6(self) -> Self {
        Self { floor: "floor_v6", program: "pipeline_v6", ..self }
    }
}

const MILLION: u64 = 1 << 20;

/// All of them.
pub fn all() -> Vec<Case> {
    let to = |protocol, destination| Packet::new(protocol, client(), destination).bytes();
    let tcp = to(Protocol::Tcp, (VIP, PORT));
    let udp = to(Protocol::Udp, (VIP, UDP_PORT));
    let mut arp = tcp.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let elsewhere = to(Protocol::Tcp, (Ipv4Addr::new(10, 66, 0, 2).into(), PORT));
    let other_port = to(Protocol::Tcp, (VIP, 22));
    let tcp_6 =
        Packet::new(Protocol::Tcp, (Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 1, 0).into(), 40_000), (VIP_6, PORT)).bytes();

    let mut cases = Vec::new();
    for flows in [1, 1 << 16, MILLION] {
        cases.push(Case::new("v4-tcp", flows, &tcp, TX));
        cases.push(Case::new("v4-udp", flows, &udp, TX));
    }
    // As from a flood of SYNs: no flow comes back soon, and none of them takes any memory.
    cases.push(Case::new("syn-flood", 4 * MILLION, &syn(), TX));
    for flows in [1, MILLION] {
        cases.push(Case::new("v6-tcp", flows, &tcp_6, TX).v6());
    }
    for (name, frame) in [("not-ours-arp", arp), ("not-ours-address", elsewhere), ("not-ours-port", other_port)] {
        cases.push(Case::new(name, 1, &frame, PASS));
    }
    // What BPF_PROG_TEST_RUN itself costs on this machine: that much of every figure, the floor's too, is not ours.
    cases.push(Case { program: "pass", ..Case::new("empty-program", 1, &tcp, PASS) });
    cases
}

/// An address whose two halves add up to what those of every flow do, so that the header checksum fits them all.
fn client() -> (IpAddr, u16) {
    (Ipv4Addr::new(0, 0, 255, 255).into(), 0x8000)
}

fn syn() -> Vec<u8> {
    Packet { tcp_flags: Packet::SYN, ..Packet::new(Protocol::Tcp, client(), (VIP, PORT)) }.bytes()
}
