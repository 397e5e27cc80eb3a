//! What is measured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya_verdict::{PASS, TX};
use lb_common::abi::Protocol;
use lb_common::abi::limits::DEFAULT_PINS;
use lb_common::reason::{Action, Reason};

use crate::fixture::{self, PORT, UDP_PORT, VIP, VIP_6, World};
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

/// What a case's frames meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Few services over a hundred real servers.
    Plain,
    /// 512 services, a hundred real servers each.
    ManyServices,
    /// The plain one, with every flow pinned and room for so many pins.
    Tracking {
        /// A power of two.
        pins: u32,
    },
}

impl Scene {
    /// What the director is to know.
    pub fn world(self) -> World {
        match self {
            Self::Plain => World::bench(),
            Self::ManyServices => World::many_services(),
            Self::Tracking { pins } => World::tracking(pins),
        }
    }
}

/// What is measured, and how to tell that every frame, not only the last, went its way.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// Our pipeline: a program of the bench object, and what it counts every frame as.
    Pipeline(&'static str, Reason),
    /// A program of the bench object that counts nothing; its verdict.
    Bare(&'static str, u32),
    /// Our pipeline with the flow table that others have in the place of the pins: a program of the rival object.
    Rival,
    /// No more than such a table: a program of the rival object. Nearly every frame finds its flow in it.
    BareRival,
}

impl Subject {
    /// XDP's verdict on every frame.
    pub const fn verdict(self) -> u32 {
        match self {
            Self::Pipeline(_, reason) => match reason.action() {
                Action::Transmit => TX,
                Action::Pass => PASS,
                Action::Drop => aya_verdict::DROP,
            },
            Self::Bare(_, verdict) => verdict,
            Self::Rival | Self::BareRival => TX,
        }
    }
}

/// One row of the bench.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, as in the JSON.
    pub name: &'static str,
    /// How many flows the frames are spread over; a power of two.
    pub flows: u64,
    /// What the frames meet.
    pub scene: Scene,
    /// The program in the bench object that it stands beside.
    pub floor: &'static str,
    /// What is measured.
    pub subject: Subject,
    /// The frame; its source address and port are overwritten for each flow.
    pub frame: Vec<u8>,
}

impl Case {
    fn new(name: &'static str, flows: u64, frame: &[u8], reason: Reason) -> Self {
        let subject = Subject::Pipeline("pipeline_v4", reason);
        Self { name, flows, scene: Scene::Plain, floor: "floor_v4", subject, frame: frame.to_vec() }
    }

    fn forwarded(name: &'static str, flows: u64, frame: &[u8]) -> Self {
        Self::new(name, flows, frame, Reason::Forwarded)
    }

    fn v6(self) -> Self {
        let subject = Subject::Pipeline("pipeline_v6", Reason::Forwarded);
        Self { floor: "floor_v6", subject, ..self }
    }

    fn many_services(self) -> Self {
        let subject = Subject::Pipeline("pipeline_services", Reason::Forwarded);
        Self { scene: Scene::ManyServices, floor: "floor_services", subject, ..self }
    }
}

const MANY: u64 = 1 << 16;
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
    for flows in [1, MANY, MILLION] {
        cases.push(Case::forwarded("v4-tcp", flows, &tcp));
        cases.push(Case::forwarded("v4-udp", flows, &udp));
    }
    // As from a flood of SYNs: no flow comes back soon, and none of them takes any memory.
    cases.push(Case::forwarded("syn-flood", 4 * MILLION, &syn()));
    for flows in [1, MILLION] {
        cases.push(Case::forwarded("v6-tcp", flows, &tcp_6).v6());
    }
    let service = to(Protocol::Tcp, fixture::many_services_first());
    for flows in [MANY, MILLION] {
        cases.push(Case::forwarded("many-services", flows, &service).many_services());
    }
    // A set keeps seven flows for good, so there are more pins than flows: else some flows would never be confirmed.
    for (flows, pins) in [(1, DEFAULT_PINS), (MANY, DEFAULT_PINS), (MILLION, 4 << 20)] {
        let scene = Scene::Tracking { pins };
        cases.push(Case { scene, ..Case::forwarded("pin-hit", flows, &tcp) });
        // The same frames, with tables of their own.
        cases.push(Case { scene, subject: Subject::Rival, ..Case::forwarded("lru-rival", flows, &tcp) });
        cases.push(Case { scene, subject: Subject::BareRival, ..Case::forwarded("lru-bare", flows, &tcp) });
    }
    for (name, frame, reason) in [
        ("not-ours-arp", arp, Reason::NotBalanced),
        ("not-ours-address", elsewhere, Reason::NoService),
        ("not-ours-port", other_port, Reason::NoService),
    ] {
        cases.push(Case::new(name, 1, &frame, reason));
    }
    // What BPF_PROG_TEST_RUN itself costs on this machine: that much of every figure, the floor's too, is not ours.
    cases.push(Case { subject: Subject::Bare("pass", PASS), ..Case::forwarded("empty-program", 1, &tcp) });
    cases
}

/// An address whose two halves add up to what those of every flow do, so that the header checksum fits them all.
fn client() -> (IpAddr, u16) {
    (Ipv4Addr::new(0, 0, 255, 255).into(), 0x8000)
}

fn syn() -> Vec<u8> {
    Packet { tcp_flags: Packet::SYN, ..Packet::new(Protocol::Tcp, client(), (VIP, PORT)) }.bytes()
}
