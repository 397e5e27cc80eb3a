//! One IP packet through the VRRP codec and the machines of a backup and a master, and what must be true of them afterwards.
//!
//! Shared by the fuzz target and a test on stable Rust, as `harness.rs` is.

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use lb_user::vrrp::machine::{Announcements, ChecksumForm, Machine, Preemption, Settings, State, Vips};
use lb_user::vrrp::packet::{Advert, Centiseconds, Coverage, Dialect, Envelope, decode};

/// Whether it is an advert.
pub fn check(packet: &[u8]) -> bool {
    let opened = Envelope::open_ipv4(packet).or_else(|_| Envelope::open_ipv6(packet));
    let Ok((envelope, message)) = opened else { return false };
    let Ok(advert) = decode(message, &envelope) else { return false };
    let mut again = Vec::new();
    advert.encode(&envelope.endpoints, &mut again).expect("what can be read can be written");
    assert_eq!(decode(&again, &envelope), Ok(advert));
    for leads in [false, true] {
        hear(leads, &advert, &envelope);
    }
    true
}

/// A router with this advert's number and version hears it, and then only itself.
fn hear(leads: bool, advert: &Advert<'_>, envelope: &Envelope) {
    let start = Instant::now();
    let mut machine = Machine::new(Settings {
        vrid: advert.vrid,
        dialect: match advert.dialect {
            dialect @ Dialect::V2 { .. } => dialect,
            Dialect::V3 { .. } => Dialect::V3 { interval: SECOND, coverage: Coverage::WithPseudoHeader },
        },
        checksum: ChecksumForm::AsHeard,
        priority: if leads { NonZeroU8::MAX } else { PRIORITY },
        source: [10, 0, 0, 9].into(),
        vips: Vips::V4(vec![[10, 0, 0, 100]]),
        preemption: Preemption::default(),
        announcements: Announcements::default(),
    });
    machine.handle_start(start);
    assert_eq!(machine.state() == State::Master, leads);
    machine.handle_advert(advert, envelope.endpoints.source(), start + Duration::from_millis(1));
    let mut worked = 0;
    while let Some(due) = machine.deadline().filter(|due| *due < start + HORIZON) {
        machine.handle_timeout(due);
        worked += 1;
        assert!(worked < 4000, "it does not come to rest");
        while machine.poll_output().is_some() {}
    }
    // Nobody else is heard any more, so sooner or later it leads.
    assert_eq!(machine.state(), State::Master, "{:?}", machine.deadline().map(|due| due - start));
}

const PRIORITY: NonZeroU8 = NonZeroU8::new(100).unwrap();
const SECOND: Centiseconds = Centiseconds::new(100).unwrap();
/// The longest interval, three times, and a moment.
const HORIZON: Duration = Duration::from_secs(4 * 255);
