//! What a priority depends on.

use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::super::problem::Report;
use super::super::program::{account, command};
use super::super::validate::absolute_path;
use super::super::values::{self, duration_within, name, number};
use super::super::{raw, syntax};
use super::parse::{Known, interface};
use super::{Track, TrackScript, Tracked};
use crate::vrrp::packet::OWNER;

/// keepalived's default.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);
const WEIGHTS: RangeInclusive<i16> = -253..=253;
/// A file may hold a negative number.
const FACTORS: RangeInclusive<i16> = -254..=254;
/// Of a process's name in /proc/PID/comm, and of what people call a program.
const PROCESS_NAME: usize = 255;

/// All of `[script.NAME]`.
pub fn scripts(report: &mut Report<'_>, file: &raw::File) -> Vec<TrackScript> {
    file.script.iter().map(|(name, raw)| script(report, name, raw)).collect()
}

fn script(report: &mut Report<'_>, written: &Spanned<String>, raw: &Spanned<raw::Script>) -> TrackScript {
    let raw::Script { command: words, interval, timeout, rise, fall, user } = raw.get_ref();
    let name = name(report, "the name of a script", written);
    let key = |last| format!("script.{name}.{last}");
    let (program, arguments) = command(report, &key("command"), words);
    let interval = duration_within(report, &key("interval"), interval.as_ref(), INTERVAL, INTERVALS);
    let script = TrackScript {
        program,
        arguments,
        interval,
        timeout: duration_within(report, &key("timeout"), timeout.as_ref(), interval, INTERVALS),
        rise: number(report, &key("rise"), rise.as_ref(), 1..=1000, 1),
        fall: number(report, &key("fall"), fall.as_ref(), 1..=1000, 1),
        user: user.as_ref().and_then(|user| account(report, &key("user"), user)),
        name,
    };
    if let Some(timeout) = timeout
        && script.timeout > script.interval
    {
        let name = &script.name;
        let message =
            format!("script.{name}.timeout is longer than the interval, so a script that hangs is noticed late");
        report.warning(timeout.span(), message);
    }
    script
}

/// `track_interface` and `track` of a virtual router.
pub fn tracked(
    report: &mut Report<'_>,
    raw: &raw::VirtualRouter,
    priority: NonZeroU8,
    known: &Known<'_>,
) -> Vec<Track> {
    let mut tracks: Vec<Track> = Vec::new();
    let interfaces =
        raw.track_interface.iter().map(|raw| (raw.span(), tracked_interface(report, raw))).collect::<Vec<_>>();
    let others = raw.track.iter().map(|raw| (raw.span(), tracked_other(report, raw, known))).collect::<Vec<_>>();
    for (span, track) in interfaces.into_iter().chain(others) {
        let Some(track) = track else { continue };
        if tracks.iter().any(|other| other.what == track.what) {
            report.error(span, format!("{} is tracked twice by this virtual router", track.what.describe()));
        } else if priority.get() == OWNER && track.weight != 0 {
            let message = "priority 255 is the owner's, and no weight changes it; a weight of 0 makes it a fault";
            report.warning(span, message);
        }
        tracks.push(track);
    }
    tracks
}

fn tracked_interface(report: &mut Report<'_>, raw: &Spanned<raw::TrackInterface>) -> Option<Track> {
    let (name, weight) = match raw.get_ref() {
        raw::TrackInterface::Name(name) => (name, 0),
        raw::TrackInterface::Weighted(weighted) => (&weighted.interface, weighted.weight),
    };
    let what = Tracked::Interface(interface(report, "vrrp.track_interface", raw.span(), name));
    let weight = weight_within(report, "vrrp.track_interface.weight", &Spanned::new(raw.span(), weight), WEIGHTS);
    Some(Track { what, weight: weight? })
}

fn tracked_other(report: &mut Report<'_>, raw: &Spanned<raw::Track>, known: &Known<'_>) -> Option<Track> {
    let raw::Track { script, process, file, pool, gateway, weight } = raw.get_ref();
    if [script, process, file, pool, gateway].into_iter().flatten().count() != 1 {
        let cure = "write exactly one of `script`, `process`, `file`, `pool` and `gateway` in each";
        report.error(raw.span(), format!("vrrp.track has tables, each with one thing to track; {cure}"));
        return None;
    }
    let what = match (script, process, file, pool, gateway) {
        (Some(script), ..) => script_of(report, script, known),
        (_, Some(process), ..) => process_of(report, process),
        (_, _, Some(file), ..) => Some(Tracked::File(absolute_path(report, "vrrp.track.file", file))),
        (_, _, _, Some(pool), _) => pool_of(report, pool, known),
        (.., gateway) => {
            let gateway = gateway.as_ref()?;
            values::address(report, "vrrp.track.gateway", gateway).map(Tracked::Gateway)
        }
    };
    let (range, default) = if file.is_some() { (FACTORS, 1) } else { (WEIGHTS, 0) };
    let weight = match weight {
        Some(weight) => weight_within(report, "vrrp.track.weight", weight, range),
        None => Some(default),
    };
    Some(Track { what: what?, weight: weight? })
}

fn weight_within(report: &mut Report<'_>, key: &str, weight: &Spanned<i64>, range: RangeInclusive<i16>) -> Option<i16> {
    let found = i16::try_from(*weight.get_ref()).ok().filter(|weight| range.contains(weight));
    if found.is_none() {
        let (number, least, most) = (weight.get_ref(), range.start(), range.end());
        report.error(weight.span(), format!("{key} is {number}; it must be from {least} to {most}"));
    }
    found
}

fn script_of(report: &mut Report<'_>, name: &Spanned<String>, known: &Known<'_>) -> Option<Tracked> {
    let found = known.scripts.iter().find(|script| script.name == *name.get_ref());
    if found.is_none() {
        let names: Vec<&str> = known.scripts.iter().map(|script| script.name.as_str()).collect();
        missing(report, name, "script", &names);
    }
    found.cloned().map(Tracked::Script)
}

fn pool_of(report: &mut Report<'_>, name: &Spanned<String>, known: &Known<'_>) -> Option<Tracked> {
    let Some(pool) = known.pools.iter().find(|pool| pool.name == *name.get_ref()) else {
        let names: Vec<&str> = known.pools.iter().map(|pool| pool.name.as_str()).collect();
        missing(report, name, "pool", &names);
        return None;
    };
    if pool.check.is_none() {
        report.warning(name.span(), format!("pool {} has no check, so it is always well", pool.name));
    }
    Some(Tracked::Pool(pool.name.clone()))
}

fn missing(report: &mut Report<'_>, name: &Spanned<String>, what: &str, names: &[&str]) {
    let cure = match (syntax::nearest(name.get_ref(), names), names) {
        (Some(near), _) => format!("did you mean \"{near}\"?"),
        (None, []) => format!("write a table [{what}.{}]", name.get_ref()),
        (None, names) => format!("{what}s: {}", names.join(", ")),
    };
    report.error(
        name.span(),
        format!("vrrp.track.{what} is \"{}\", and no such {what} is there; {cure}", name.get_ref()),
    );
}

fn process_of(report: &mut Report<'_>, name: &Spanned<String>) -> Option<Tracked> {
    let text = name.get_ref();
    if text.is_empty() || text.len() > PROCESS_NAME || text.contains(['/', '\0', '\n']) {
        let cure = "write the name alone, as `ps -e` shows it";
        report.error(name.span(), format!("vrrp.track.process is \"{text}\"; {cure}"));
        return None;
    }
    Some(Tracked::Process(text.clone()))
}

impl Tracked {
    /// A few words for people: "script chk_nginx", "gateway 10.0.0.1".
    pub fn describe(&self) -> String {
        match self {
            Self::Interface(name) => format!("interface {name}"),
            Self::Script(script) => format!("script {}", script.name),
            Self::Process(name) => format!("process {name}"),
            Self::File(path) => format!("file {}", path.display()),
            Self::Pool(name) => format!("pool {name}"),
            Self::Gateway(address) => format!("gateway {address}"),
        }
    }
}
