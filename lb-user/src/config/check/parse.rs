//! The keys that all checks have, and which type of check it is.

use std::collections::HashSet;
use std::time::Duration;

use lb_common::abi::Protocol;
use toml::Spanned;

use super::super::problem::Report;
use super::super::{Service, raw, syntax, values};
use super::keys::Keys;
use super::{Check, CheckKind, Confirm, FALL, INTERVAL, Jitter, RISE, TIMEOUT, kinds, via};

/// More would make intervals that have little to do with the one in the file.
const MOST_JITTER: u8 = 50;

/// All words of `type`.
const TYPES: [&str; 10] = ["tcp", "http", "https", "mysql", "redis", "dns", "udp", "icmp", "script", "agent"];

/// Makes sense of a pool's check. `users` are the services that use the pool. What is wrong is in the report, and then
/// the result is of no use.
pub fn check(report: &mut Report<'_>, pool: &str, raw: &Spanned<raw::Check>, users: &[&Service]) -> Check {
    let mut keys = Keys::new(report, pool, raw);
    let kind = kind(&mut keys);
    let (via, vip) = via::via(&mut keys, kind.as_ref(), users);
    let interval = keys.duration("interval", INTERVAL);
    let check = Check {
        port: kind.as_ref().map_or(0, |kind| port(&mut keys, kind, users)),
        via,
        vip,
        interval,
        fast_interval: keys.duration("fast_interval", interval),
        timeout: keys.duration("timeout", TIMEOUT),
        rise: keys.number("rise", 1..=1000, RISE),
        fall: keys.number("fall", 1..=1000, FALL),
        jitter: jitter(&mut keys, interval),
        damping: keys.flag("damping", true),
        confirm: confirm(&mut keys),
        kind: kind.clone().unwrap_or(CheckKind::Tcp),
    };
    if check.timeout > check.interval {
        let key = keys.name("timeout");
        keys.warning(format!("{key} is longer than the interval, so probes of a dead server come late"));
    }
    // Which keys there are is not known without a type.
    if let Some(kind) = kind {
        keys.finish(kind.name());
    }
    check
}

fn kind(keys: &mut Keys<'_, '_>) -> Option<CheckKind> {
    if !keys.has("type") {
        let key = keys.name("type");
        keys.error(format!("{key} is missing; it must be one of: {}", TYPES.join(", ")));
    }
    let word = keys.text("type")?;
    let kind = match word.get_ref().as_str() {
        "tcp" => CheckKind::Tcp,
        "http" => kinds::http(keys),
        "https" => kinds::https(keys),
        "mysql" => kinds::mysql(keys),
        "redis" => kinds::redis(keys),
        "dns" => kinds::dns(keys),
        "udp" => kinds::udp(keys),
        "icmp" => CheckKind::Icmp,
        "script" => kinds::script(keys),
        "agent" => kinds::agent(keys),
        other => {
            let cure = match syntax::nearest(other, &TYPES) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("use one of: {}", TYPES.join(", ")),
            };
            keys.report.error(word.span(), format!("check type \"{other}\" is not known; {cure}"));
            return None;
        }
    };
    Some(kind)
}

/// A part of the interval, as in "10%", or a time.
fn jitter(keys: &mut Keys<'_, '_>, interval: Duration) -> Jitter {
    let none = Jitter::Percent(0);
    let Some(text) = keys.text("jitter") else { return none };
    let jitter = match text.get_ref().strip_suffix('%') {
        Some(number) => number.parse().ok().filter(|percent| *percent <= MOST_JITTER).map(Jitter::Percent),
        None => values::parse_duration(text.get_ref()).filter(|time| *time <= interval / 2).map(Jitter::Time),
    };
    if jitter.is_none() {
        let problem = format!(
            "is \"{}\"; it must be 0% to {MOST_JITTER}%, or a time of at most half the interval, as in \"10%\" or \"100ms\"",
            text.get_ref()
        );
        keys.bad("jitter", text.span(), problem);
    }
    jitter.unwrap_or(none)
}

fn confirm(keys: &mut Keys<'_, '_>) -> Confirm {
    keys.choice("confirm", &[("nobody", Confirm::Nobody), ("peers", Confirm::Peers)]).unwrap_or(Confirm::Nobody)
}

/// The file's, else the one that the services of the pool have which speak the check's protocol.
fn port(keys: &mut Keys<'_, '_>, kind: &CheckKind, users: &[&Service]) -> u16 {
    if *kind == CheckKind::Icmp {
        return 0;
    }
    if keys.has("port") {
        return u16::try_from(keys.number("port", 1..=65_535, 1)).unwrap_or(u16::MAX);
    }
    keys.take("port");
    let (protocol, word) = match kind {
        CheckKind::Dns(_) | CheckKind::Udp(_) => (Some(Protocol::Udp), "UDP "),
        CheckKind::Script(_) => (None, ""),
        _ => (Some(Protocol::Tcp), "TCP "),
    };
    let ports: HashSet<Option<u16>> = users
        .iter()
        .filter(|service| protocol.is_none_or(|protocol| service.protocol == protocol))
        .map(|service| service.port())
        .collect();
    let needed = match (kind, ports.len()) {
        // A pool that nobody uses has its warning already, and is not checked.
        _ if users.is_empty() => return 0,
        // A script may need none.
        (CheckKind::Script(_), count) if count != 1 => return 0,
        (CheckKind::Agent(_), _) => "the one that the agent listens on".into(),
        (_, 1) => match ports.into_iter().next().flatten() {
            Some(port) => return port,
            None => format!("the {word}services of the pool have many ports"),
        },
        (_, 0) => format!("no {word}service uses the pool"),
        _ => format!("the {word}services of the pool differ in port"),
    };
    let check = keys.name("").trim_end_matches('.').to_owned();
    keys.error(format!("{check} needs a `port`: {needed}"));
    0
}
