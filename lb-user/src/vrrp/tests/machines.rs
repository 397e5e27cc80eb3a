//! What tests of machines share.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::vrrp::machine::{Announcements, ChecksumForm, Machine, Output, Preemption, Settings, Vips};
use crate::vrrp::packet::{Advert, Auth, Centiseconds, Coverage, Dialect, Password};

/// When everything begins. The clock is read once; from then on time is what a test says.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub const VIPS: [[u8; 4]; 1] = [[192, 168, 81, 100]];
pub const SECOND: Duration = Duration::from_secs(1);
/// The machine under test.
pub const OWN: IpAddr = address(10);
/// One with a lower address, and one with a higher.
pub const LOW: IpAddr = address(9);
pub const HIGH: IpAddr = address(11);

pub const V3: Dialect = Dialect::V3 { interval: Centiseconds::new(100).unwrap(), coverage: Coverage::WithPseudoHeader };

pub const fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 168, 81, last))
}

pub fn v2(password: &[u8]) -> Dialect {
    let auth = if password.is_empty() { Auth::None } else { Auth::Pass(Password::new(password)) };
    Dialect::V2 { seconds: NonZeroU8::MIN, auth }
}

/// So long after the beginning.
pub fn at(since: Duration) -> Instant {
    *START + since
}

pub fn millis(number: u64) -> Instant {
    at(Duration::from_millis(number))
}

/// Version 3, one second, priority 100.
pub fn settings() -> Settings {
    Settings {
        vrid: NonZeroU8::new(66).unwrap(),
        dialect: V3,
        checksum: ChecksumForm::AsConfigured,
        priority: NonZeroU8::new(100).unwrap(),
        source: OWN,
        vips: Vips::V4(VIPS.to_vec()),
        preemption: Preemption::default(),
        announcements: Announcements::default(),
    }
}

/// Somebody's advert, as those settings would have it.
pub fn advert(settings: &Settings, priority: u8) -> Advert<'_> {
    Advert { vrid: settings.vrid, priority, dialect: settings.dialect, addresses: settings.vips.addresses() }
}

/// Hears somebody with the machine's own settings.
pub fn hear(machine: &mut Machine, priority: u8, source: IpAddr, now: Instant) {
    let settings = machine.settings().clone();
    machine.handle_advert(&advert(&settings, priority), source, now);
}

pub fn outputs(machine: &mut Machine) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

/// A machine that is a backup since the beginning.
pub fn backup(settings: Settings) -> Machine {
    let mut machine = Machine::new(settings);
    machine.handle_start(millis(0));
    outputs(&mut machine);
    machine
}

/// A machine that became master at its first deadline, and when that was.
pub fn master(settings: Settings) -> (Machine, Instant) {
    let mut machine = backup(settings);
    let now = machine.deadline().unwrap();
    machine.handle_timeout(now);
    outputs(&mut machine);
    (machine, now)
}

/// What a machine does until then, if it is woken at each of its deadlines.
pub fn run(machine: &mut Machine, until: Instant) -> Vec<(Instant, Output)> {
    let mut done = Vec::new();
    while let Some(now) = machine.deadline().filter(|now| *now <= until) {
        machine.handle_timeout(now);
        done.extend(outputs(machine).into_iter().map(|output| (now, output)));
        assert!(machine.deadline().is_none_or(|next| next > now), "it would spin");
    }
    done
}
