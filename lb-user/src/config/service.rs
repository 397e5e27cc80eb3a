//! `[[service]]`: what is offered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use lb_common::abi::{Access, Protocol};
use toml::Spanned;

use super::problem::Report;
use super::raw;
use super::values::{address, duration_within, name, number, protocol};

/// How long a flow may be silent by default: LVS's for TCP.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Below, the clock of the pins is too coarse; above, it does not reach.
const IDLE_RANGE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(4 * 3600)];

/// What is offered to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The config's, else vip:ports/protocol.
    pub name: String,
    /// The address clients know.
    pub vip: IpAddr,
    /// The ports clients know; the real servers listen on them too (direct server return keeps them).
    pub ports: Ports,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Index in [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// What of a flow chooses its real server.
    pub affinity: Affinity,
    /// Which flows are remembered.
    pub tracking: Tracking,
    /// How long a flow may be silent before a change of the ring may move it: 10 seconds to 4 hours.
    pub idle_timeout: Duration,
    /// Which clients are served; `None`: all.
    pub access: Option<AccessRules>,
    /// Clients' networks and the zones that they prefer; the longest prefix decides. Empty: nobody prefers any.
    pub locality: BTreeMap<IpNet, String>,
}

impl Service {
    /// One port, and everything else as a file has it that does not say.
    pub fn new(name: &str, vip: IpAddr, port: u16, protocol: Protocol, pool: usize) -> Self {
        Self {
            name: name.into(),
            vip,
            ports: Ports { first: port, last: port },
            protocol,
            pool,
            affinity: Affinity::Flow,
            tracking: Tracking::JustEnough,
            idle_timeout: IDLE_TIMEOUT,
            access: None,
            locality: BTreeMap::new(),
        }
    }

    /// The zones that some of its clients prefer.
    pub fn zones(&self) -> BTreeSet<&str> {
        self.locality.values().map(String::as_str).collect()
    }

    /// The prefixes of its access list, which says too who prefers which zone.
    pub fn prefixes(&self) -> BTreeSet<IpNet> {
        let rules = self.access.iter().flat_map(|access| access.rules.keys());
        rules.chain(self.locality.keys()).copied().collect()
    }

    /// The port, if it is one.
    pub fn port(&self) -> Option<u16> {
        (self.ports.first == self.ports.last).then_some(self.ports.first)
    }
}

/// The ports of a service, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last; not below the first.
    pub last: u16,
}

impl Ports {
    /// `port = "any"`
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// As aligned blocks of 2^n ports, (first port, n): at most 30.
    pub fn blocks(self) -> impl Iterator<Item = (u16, u32)> {
        let mut next = u32::from(self.first);
        let end = u32::from(self.last) + 1;
        std::iter::from_fn(move || {
            let bits = next.trailing_zeros().min(16).min((end - next).checked_ilog2()?);
            let first = u16::try_from(next).ok()?;
            next += 1 << bits;
            Some((first, bits))
        })
    }

    /// Whether the two have a port in common.
    pub const fn overlap(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::ANY => write!(f, "any"),
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// `affinity = "…"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// All of its five fields: every connection is on its own.
    Flow,
    /// So many bits of the client's address: all its connections go to one real server, on all services of the pool.
    Source {
        /// 1 to 32, or 1 to 128, by the vip's family.
        bits: u8,
    },
}

/// `tracking = "…"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Flows that are, or soon may be, elsewhere than the ring says.
    JustEnough,
    /// All.
    Full,
}

/// `allow` and `deny`: the longest prefix that has the client's address decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// All of the vip's family; none twice, the one of length 0 is always there.
    pub rules: BTreeMap<IpNet, Access>,
}

/// A service with where it stands in the file.
pub type Located<T> = (Range<usize>, T);

/// All services of a file that make sense; what does not is reported.
pub fn services(report: &mut Report<'_>, file: &raw::File) -> Vec<Located<Service>> {
    let mut services: Vec<Located<Service>> = Vec::new();
    for raw in &file.service {
        let Some(service) = service(report, file, raw) else { continue };
        for (_, other) in &services {
            if let Some(message) = conflict(&service, other) {
                report.error(raw.span(), message);
            } else if other.name == service.name {
                report.error(raw.span(), format!("two services are named {}", service.name));
            }
        }
        services.push((raw.span(), service));
    }
    services
}

/// A single port may lie within a range, and anything within "any"; the narrower one is meant then.
fn conflict(service: &Service, other: &Service) -> Option<String> {
    let same = (other.vip, other.protocol) == (service.vip, service.protocol);
    if !same || !service.ports.overlap(other.ports) {
        return None;
    }
    if service.ports == other.ports {
        let Service { name, .. } = service;
        return Some(format!("service {name} has the vip, port and protocol of service {}", other.name));
    }
    let narrow = |service: &Service| service.port().is_some() || service.ports == Ports::ANY;
    if narrow(service) || narrow(other) {
        return None;
    }
    let (a, b) = (service.ports, other.ports);
    Some(format!("ports {a} of service {} overlap ports {b} of service {}", service.name, other.name))
}

fn service(report: &mut Report<'_>, file: &raw::File, located: &Spanned<raw::Service>) -> Option<Service> {
    let raw = located.get_ref();
    let given = raw.name.as_ref().map(|given| name(report, "service.name", given));
    let vip = address(report, "service.vip", &raw.vip);
    let ports = ports(report, located.span(), raw);
    let protocol = protocol(report, &raw.protocol);
    let pool = pool(report, file, &raw.pool);
    let tracking = tracking(report, raw.tracking.as_ref());
    let [least, most] = IDLE_RANGE;
    let idle_timeout =
        duration_within(report, "service.idle_timeout", raw.idle_timeout.as_ref(), IDLE_TIMEOUT, least..=most);
    let vip = vip?;
    let affinity = affinity(report, raw, vip);
    let access = access(report, raw, vip);
    let locality = locality(report, raw, vip);
    let (ports, protocol) = (ports?, protocol?);
    let written = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
    let name = given.unwrap_or_else(|| match ports.first == ports.last {
        true => format!("{}/{written}", SocketAddr::new(vip, ports.first)),
        false => format!("{vip}:{ports}/{written}"),
    });
    Some(Service { name, vip, ports, protocol, pool: pool?, affinity, tracking, idle_timeout, access, locality })
}

fn pool(report: &mut Report<'_>, file: &raw::File, pool: &Spanned<String>) -> Option<usize> {
    let known = file.pool.keys().position(|name| name.get_ref() == pool.get_ref());
    if known.is_none() {
        let names: Vec<&str> = file.pool.keys().map(|name| name.get_ref().as_str()).collect();
        let (name, names) = (pool.get_ref(), if names.is_empty() { "none".into() } else { names.join(", ") });
        report.error(pool.span(), format!("service.pool is \"{name}\", and no such pool is there; pools: {names}"));
    }
    known
}

fn ports(report: &mut Report<'_>, service: Range<usize>, raw: &raw::Service) -> Option<Ports> {
    match (&raw.port, &raw.ports) {
        (Some(port), None) => one_port(report, port),
        (None, Some(range)) => port_range(report, range),
        (Some(_), Some(range)) => {
            report.error(range.span(), "a service has either `port` or `ports`, not both");
            None
        }
        (None, None) => {
            report.error(service, "a service needs `port` (a number, or \"any\") or `ports` (such as \"8000-9000\")");
            None
        }
    }
}

fn one_port(report: &mut Report<'_>, port: &Spanned<raw::Port>) -> Option<Ports> {
    let problem = match port.get_ref() {
        raw::Port::Word(word) if word == "any" => return Some(Ports::ANY),
        raw::Port::Word(word) => format!("\"{word}\"; it must be a number or \"any\" (a range is written `ports`)"),
        raw::Port::Number(number) => match u16::try_from(*number) {
            Ok(port @ 1..) => return Some(Ports { first: port, last: port }),
            _ => format!("{number}; it must be from 1 to 65535"),
        },
    };
    report.error(port.span(), format!("service.port is {problem}"));
    None
}

fn port_range(report: &mut Report<'_>, range: &Spanned<String>) -> Option<Ports> {
    let text = range.get_ref();
    let parsed = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (0 < first && first <= last).then_some(Ports { first, last })
    });
    if parsed.is_none() {
        let message = format!("service.ports is \"{text}\"; write the first and the last port, as in \"8000-9000\"");
        report.error(range.span(), message);
    }
    parsed
}

fn tracking(report: &mut Report<'_>, tracking: Option<&Spanned<String>>) -> Tracking {
    match tracking.map(|word| (word.get_ref().as_str(), word.span())) {
        None | Some(("just_enough", _)) => Tracking::JustEnough,
        Some(("full", _)) => Tracking::Full,
        Some((other, span)) => {
            let message = format!("service.tracking is \"{other}\"; it must be \"just_enough\" or \"full\"");
            report.error(span, message);
            Tracking::JustEnough
        }
    }
}

fn affinity(report: &mut Report<'_>, raw: &raw::Service, vip: IpAddr) -> Affinity {
    let raw::Service { affinity, source_mask, .. } = raw;
    let mask = source_mask.as_ref().map(Spanned::get_ref);
    let (v4, v6) = mask.map_or((None, None), |mask| (mask.v4.as_ref(), mask.v6.as_ref()));
    let v4 = number(report, "service.source_mask.v4", v4, 1..=32, 32);
    let v6 = number(report, "service.source_mask.v6", v6, 1..=128, 128);
    let bits = if vip.is_ipv4() { v4 } else { v6 };
    match affinity.as_ref().map(|word| (word.get_ref().as_str(), word.span())) {
        None | Some(("flow", _)) => {
            if let Some(mask) = source_mask {
                report.warning(mask.span(), "source_mask means nothing without affinity = \"source\"");
            }
            Affinity::Flow
        }
        Some(("source", _)) => Affinity::Source { bits: u8::try_from(bits).unwrap_or(u8::MAX) },
        Some((other, span)) => {
            report.error(span, format!("service.affinity is \"{other}\"; it must be \"flow\" or \"source\""));
            Affinity::Flow
        }
    }
}

/// What is in no list is served, unless there is a list of those who are.
fn access(report: &mut Report<'_>, raw: &raw::Service, vip: IpAddr) -> Option<AccessRules> {
    let mut rules = BTreeMap::new();
    let allowed = raw.allow.iter().flatten().map(|prefix| (prefix, "allow", Access::Allowed));
    let denied = raw.deny.iter().map(|prefix| (prefix, "deny", Access::Denied));
    for (prefix, key, access) in allowed.chain(denied) {
        let Some(net) = prefix_of(report, key, prefix, vip) else { continue };
        if rules.insert(net, access).is_some_and(|former| former != access) {
            report.error(prefix.span(), format!("{net} is in both `allow` and `deny`; take it out of one of them"));
        }
    }
    let rest = if raw.allow.is_some() { Access::Denied } else { Access::Allowed };
    let all = if vip.is_ipv4() { IpNet::V4(ipnet::Ipv4Net::default()) } else { IpNet::V6(ipnet::Ipv6Net::default()) };
    rules.entry(all).or_insert(rest);
    if rules.values().all(|access| *access == Access::Denied) {
        let span = raw.allow.iter().flatten().chain(&raw.deny).next().map_or(raw.vip.span(), Spanned::span);
        report.warning(span, "the lists `allow` and `deny` let nobody in");
    }
    // A list that lets everybody in need not be looked at.
    rules.values().any(|access| *access == Access::Denied).then_some(AccessRules { rules })
}

/// That a zone is there is for the pool to say.
fn locality(report: &mut Report<'_>, raw: &raw::Service, vip: IpAddr) -> BTreeMap<IpNet, String> {
    let mut zones = BTreeMap::new();
    for (prefix, zone) in &raw.locality {
        let zone = name(report, "service.locality", zone);
        if let Some(net) = prefix_of(report, "locality", prefix, vip)
            && zones.insert(net, zone).is_some()
        {
            report.error(prefix.span(), format!("{net} is twice in service.locality"));
        }
    }
    zones
}

fn prefix_of(report: &mut Report<'_>, key: &str, prefix: &Spanned<String>, vip: IpAddr) -> Option<IpNet> {
    let text = prefix.get_ref();
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let problem = match net {
        Ok(net) if net.addr().is_ipv4() != vip.is_ipv4() => {
            format!("is not of the family of the vip {vip}, so no client of this service has such an address")
        }
        Ok(net) if net.trunc() != net => format!("has bits set behind its length; write {}", net.trunc()),
        Ok(net) => return Some(net),
        Err(_) => "is no prefix; write one such as \"10.1.0.0/16\" or \"fd00::/8\"".into(),
    };
    report.error(prefix.span(), format!("service.{key}: \"{text}\" {problem}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_aligned_blocks_that_have_each_port_once() {
        for (first, last, most) in [(80, 80, 1), (8000, 9000, 7), (1, 65_535, 16), (0, 65_535, 1), (1, 65_534, 30)] {
            let blocks: Vec<_> = Ports { first, last }.blocks().collect();
            assert!(blocks.len() <= most, "{first}-{last}: {blocks:?}");
            let mut next = u32::from(first);
            for (start, bits) in blocks {
                assert_eq!((u32::from(start), u32::from(start) % (1 << bits)), (next, 0));
                next += 1 << bits;
            }
            assert_eq!(next, u32::from(last) + 1);
        }
    }
}
