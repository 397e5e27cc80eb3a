//! One frame through the packet pipeline on the host, and what must be true of it afterwards.
//!
//! The fuzz target and a test on stable Rust share this file: the one finds frames, the other sees to it that none of those
//! kept is ever forgotten.

use std::cell::RefCell;

use lb_common::abi::{Mac, Tick, VipGuard};
use lb_common::datapath::process;
use lb_common::reason::{Action, Reason};
use lb_common::wire::Buffer;
use lb_user::config::Config;
use lb_user::dataplane::{HostTables, Maps, Memory};
use lb_user::reconcile::Reconciler;
use lb_user::state::{Interface, Moment, Path, View};

const FIRST: Interface = Interface { index: 1, mac: Mac([2, 0, 0, 0, 0, 0xd1]), mtu: 1500 };
const SECOND: Interface = Interface { index: 2, mac: Mac([2, 0, 0, 0, 1, 0xd1]), mtu: 120 };
const PEER: Mac = Mac([2, 0, 0, 0, 0, 0xd2]);
/// Bytes for a tag, before the frame.
const ROOM: usize = 8;
/// What the kernel does not hand to a program: less than an Ethernet header.
const SHORTEST: usize = 14;

thread_local! {
    static TABLES: RefCell<HostTables> = RefCell::new(tables());
}

/// Sends the frame through twice, so that the second time it meets what the first one left behind. Nothing is left of it for
/// the next call. Says what became of it at first.
///
/// # Panics
/// If anything is other than it must be.
pub fn check(frame: &[u8]) -> Option<Reason> {
    if frame.len() < SHORTEST {
        return None;
    }
    TABLES.with_borrow_mut(|tables| {
        tables.forget_flows();
        let reason = check_once(frame, tables);
        assert_eq!(check_once(frame, tables).action(), reason.action(), "the second time");
        Some(reason)
    })
}

fn check_once(frame: &[u8], tables: &mut HostTables) -> Reason {
    let mut bytes = [vec![0; ROOM], frame.to_vec()].concat();
    let mut buffer = Buffer::new(&mut bytes, ROOM, FIRST.index);
    let outcome = process(&mut buffer, tables);
    let after = buffer.frame();
    match outcome.reason.action() {
        Action::Transmit => sent_rightly(frame, after),
        Action::Pass | Action::Drop => assert_eq!(after, frame, "{} changed the frame", outcome.reason.name()),
    }
    outcome.reason
}

/// Only addresses, tags, the time to live and the checksum may differ.
fn sent_rightly(before: &[u8], after: &[u8]) {
    let own = [FIRST.mac, SECOND.mac];
    assert!(own.iter().any(|mac| mac.0 == after[6..12]), "sent from {:02x?}", &after[6..12]);
    assert_eq!(after[..5], [2, 0, 0, 1, 0], "sent to no real server");
    let ((tags_before, before), (tags_after, after)) = (untagged(before), untagged(after));
    assert!(tags_after == tags_before || tags_after <= 4, "{tags_after} bytes of tags");
    let ttl = if before[2] >> 4 == 4 { 2 + 8 } else { 2 + 7 };
    assert_eq!(after[ttl] + 1, before[ttl], "the time to live");
    let mut expected = before.to_vec();
    expected[ttl] = after[ttl];
    if ttl == 2 + 8 {
        expected[2 + 10..2 + 12].copy_from_slice(&after[2 + 10..2 + 12]);
        let header = &after[2..2 + 4 * usize::from(after[2] & 15)];
        assert_eq!(sum(header), 0xffff, "the header checksum");
    }
    assert_eq!(after, expected);
}

/// Bytes of tags, at most two, and the frame from the type behind them on.
fn untagged(frame: &[u8]) -> (usize, &[u8]) {
    let is_tag = |at: usize| matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8]));
    let tags = match (is_tag(12), is_tag(16)) {
        (false, _) => 0,
        (true, false) => 4,
        (true, true) => 8,
    };
    (tags, &frame[12 + tags..])
}

/// RFC 1071: all ones is right.
fn sum(header: &[u8]) -> u32 {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (folded & 0xffff) + (folded >> 16)
}

fn tables() -> HostTables {
    let parsed = Config::parse("world.toml", include_str!("world.toml")).expect("the world makes sense");
    let Config { director, limits, pools, .. } = &parsed.config;
    let mut view = View { interfaces: vec![FIRST, SECOND], hash_seed: 1, ..View::default() };
    view.hash_seed = director.hash_seed.unwrap_or(view.hash_seed);
    let web = pools.iter().find(|pool| pool.name == "web").expect("the pool is there");
    for (number, real) in (1..).zip(&web.reals) {
        view.macs.insert(real.address, Mac([2, 0, 0, 1, 0, number]));
        let way = match number {
            3 => Path::Here,
            4 => Path::By { interface: SECOND.index, vlan: 0 },
            5 => Path::By { interface: FIRST.index, vlan: 20 },
            _ => Path::By { interface: FIRST.index, vlan: 0 },
        };
        view.paths.insert(real.address, way);
    }
    view.macs.extend(director.peers.iter().map(|peer| (*peer, PEER)));
    let mut maps = Memory::new(limits);
    let now = Moment { seconds: 1000, tick: Tick::from_nanoseconds(1_000_000_000_000) };
    Reconciler::default().reconcile(&parsed.config, &view, &mut maps, now).expect("the world fits");
    // The lease that these vips are answered under ended at 0. Those of IPv4 lead to services only.
    for service in &parsed.config.services {
        maps.set_guard(service.vip, Some(VipGuard::new(0, service.vip.is_ipv4()))).expect("memory takes it");
    }
    let mut tables = HostTables::new(&maps, limits).expect("memory can be read");
    tables.now = now.tick;
    tables.nanoseconds = 1_000_000_000_000;
    tables
}
