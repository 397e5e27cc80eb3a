//! One `[[vrrp]]`, as far as it can be judged alone.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::super::problem::Report;
use super::super::program::{account, program};
use super::super::values::{duration, duration_within, is_interface_name, name, number, written};
use super::super::{Pool, raw};
use super::addresses::{self, address, family_name, family_of, is_link_local, network, vip};
use super::{Route, Rule, TrackScript, VirtualRouter, track};
use crate::vrrp::announce::Family;
use crate::vrrp::machine::{Announcements, ChecksumForm, Pace, Preemption};
use crate::vrrp::packet::{Auth, Centiseconds, Coverage, Dialect, OWNER, Password};

/// keepalived's and the standards' default.
pub const PRIORITY: NonZeroU8 = NonZeroU8::new(100).unwrap();
const INTERVAL: Duration = Duration::from_secs(1);
/// What fits into one Ethernet frame of 1500 bytes, and, over IPv4, into the counting byte.
const MOST_VIPS: [(Family, usize); 2] = [(Family::V4, 255), (Family::V6, 90)];
const LONGEST_DELAY: Duration = Duration::from_secs(1000);
const LONGEST_REFRESH: Duration = Duration::from_secs(24 * 3600);
const MOST_DELAYS: usize = 8;
/// The main routing table.
const MAIN: u32 = 254;

/// What a router may refer to.
pub struct Known<'a> {
    /// All pools.
    pub pools: &'a [Pool],
    /// `[script.NAME]`
    pub scripts: &'a [TrackScript],
}

/// Of a router whose file says nothing of version, interval and password.
pub fn default_dialect(family: Family) -> Dialect {
    match family {
        Family::V4 => Dialect::V2 { seconds: NonZeroU8::MIN, auth: Auth::None },
        Family::V6 => Dialect::V3 { interval: Centiseconds::SECOND, coverage: Coverage::WithPseudoHeader },
    }
}

/// `None` if so much is wrong with it that there is nothing to compare with others.
pub fn router(
    report: &mut Report<'_>,
    located: &Spanned<raw::VirtualRouter>,
    known: &Known<'_>,
) -> Option<VirtualRouter> {
    let raw = located.get_ref();
    let interface = interface(report, "vrrp.interface", raw.interface.span(), raw.interface.get_ref());
    let vrid = number(report, "vrrp.virtual_router_id", Some(&raw.virtual_router_id), 1..=255, 1);
    let vrid = u8::try_from(vrid).ok().and_then(NonZeroU8::new)?;
    let priority = number(report, "vrrp.priority", raw.priority.as_ref(), 1..=255, PRIORITY.get().into());
    let priority = u8::try_from(priority).ok().and_then(NonZeroU8::new)?;
    let (family, vips) = vips(report, raw, vrid)?;
    let (dialect, checksum) = dialect(report, raw, family);
    let given = raw.name.as_ref().map(|given| name(report, "vrrp.name", given));
    let user = raw.notify_user.as_ref().and_then(|user| account(report, "vrrp.notify_user", user));
    Some(VirtualRouter {
        name: given.unwrap_or_else(|| default_name(&interface, vrid, family)),
        interface,
        family,
        vrid,
        dialect,
        checksum,
        priority,
        preemption: preemption(report, raw, priority),
        announcements: raw.garp.as_ref().map_or_else(Announcements::default, |garp| garp_of(report, garp.get_ref())),
        more_vips: more_vips(report, &raw.vips_excluded, &vips),
        accept: raw.accept.unwrap_or(true),
        routes: routes(report, &raw.routes, family),
        rules: rules(report, &raw.rules, family),
        source: raw.source.as_ref().and_then(|source| address(report, "vrrp.source", source, family)),
        unicast_peers: peers(report, raw, family),
        virtual_mac: raw.virtual_mac.unwrap_or(false),
        tracked: track::tracked(report, raw, priority, known),
        notify: raw.notify.as_ref().map(|notify| program(report, "vrrp.notify", notify)),
        notify_user: user,
        vips,
    })
}

fn default_name(interface: &str, vrid: NonZeroU8, family: Family) -> String {
    match family {
        Family::V4 => format!("{interface}/{vrid}"),
        Family::V6 => format!("{interface}/{vrid}/v6"),
    }
}

/// A name that an interface can have; whether there is one now is no matter.
pub fn interface(report: &mut Report<'_>, key: &str, span: std::ops::Range<usize>, name: &str) -> String {
    if !is_interface_name(name) {
        report.error(span, format!("{key} \"{name}\" is no interface name; `ip link` lists them"));
    }
    name.to_owned()
}

fn vips(report: &mut Report<'_>, raw: &raw::VirtualRouter, vrid: NonZeroU8) -> Option<(Family, Vec<IpNet>)> {
    let list = raw.vips.get_ref();
    if list.is_empty() {
        report.error(
            raw.vips.span(),
            "vrrp.vips is empty; write what the master answers for, as in [\"192.168.81.100/24\"]",
        );
    }
    let mut vips: Vec<IpNet> = Vec::with_capacity(list.len());
    for written in list {
        let Some(vip) = vip(report, "vrrp.vips", written) else { continue };
        let family = vips.first().map_or(family_of(vip.addr()), |first| family_of(first.addr()));
        if family_of(vip.addr()) != family {
            let message = format!(
                "vrrp.vips has addresses of both families, and an advert carries one; for {}, write another [[vrrp]] and a \
                 [[sync_group]] of the two, or `vips_excluded`",
                family_name(family_of(vip.addr()))
            );
            report.error(written.span(), message);
        } else if vips.iter().any(|other| other.addr() == vip.addr()) {
            report.error(written.span(), format!("{} is twice in vrrp.vips", vip.addr()));
        }
        vips.push(vip);
    }
    let family = family_of(vips.first()?.addr());
    if family == Family::V6 {
        begin_with_link_local(&mut vips, vrid, !raw.unicast_peers.is_empty());
    }
    let most = MOST_VIPS.iter().find(|(of, _)| *of == family).map_or(usize::MAX, |(_, most)| *most);
    if vips.len() > most {
        let count = vips.len();
        let message =
            format!("vrrp.vips has {count} addresses; an advert carries {most}: write the others to `vips_excluded`");
        report.error(raw.vips.span(), message);
    }
    Some((family, vips))
}

/// RFC 5798 section 5.2.9. Among unicast peers, which are no routers on one link, it is not needed.
fn begin_with_link_local(vips: &mut Vec<IpNet>, vrid: NonZeroU8, is_unicast: bool) {
    match vips.iter().position(|vip| is_link_local(vip.addr())) {
        Some(at) => vips[..=at].rotate_right(1),
        None if is_unicast => {}
        None => vips.insert(0, IpAddr::from(addresses::virtual_link_local(vrid)).into()),
    }
}

fn more_vips(report: &mut Report<'_>, excluded: &[Spanned<String>], vips: &[IpNet]) -> Vec<IpNet> {
    let mut more: Vec<IpNet> = Vec::new();
    for written in excluded {
        let Some(vip) = vip(report, "vrrp.vips_excluded", written) else { continue };
        if vips.iter().chain(&more).any(|other| other.addr() == vip.addr()) {
            report.error(written.span(), format!("{} is twice in this virtual router", vip.addr()));
        }
        more.push(vip);
    }
    more
}

fn dialect(report: &mut Report<'_>, raw: &raw::VirtualRouter, family: Family) -> (Dialect, ChecksumForm) {
    let interval = duration(report, "vrrp.advert_interval", raw.advert_interval.as_ref(), INTERVAL);
    let version = version(report, raw, family);
    if version == 2 {
        if let Some(checksum) = &raw.checksum {
            report.error(checksum.span(), "vrrp.checksum is about version 3, and this is version 2; remove it");
        }
        let auth = raw.auth.as_ref().map_or(Auth::None, |auth| auth_of(report, auth));
        return (Dialect::V2 { seconds: seconds(report, raw, interval), auth }, ChecksumForm::AsHeard);
    }
    if let Some(auth) = &raw.auth {
        let cure = "remove it, on all routers of this VRID, or use version = 2";
        report.error(auth.span(), format!("version 3 has no authentication (RFC 5798 section 9); {cure}"));
    }
    let (coverage, checksum) = checksum(report, raw, family);
    (Dialect::V3 { interval: centiseconds(report, raw, interval), coverage }, checksum)
}

fn version(report: &mut Report<'_>, raw: &raw::VirtualRouter, family: Family) -> u32 {
    let default = if family == Family::V4 { 2 } else { 3 };
    let version = number(report, "vrrp.version", raw.version.as_ref(), 2..=3, default);
    if let (2, Family::V6, Some(written)) = (version, family, &raw.version) {
        report.error(written.span(), "version 2 knows no IPv6, and the vips are of it; use version = 3");
        return 3;
    }
    version
}

fn seconds(report: &mut Report<'_>, raw: &raw::VirtualRouter, interval: Duration) -> NonZeroU8 {
    let whole = (interval.subsec_nanos() == 0).then(|| u8::try_from(interval.as_secs()).ok()).flatten();
    whole.and_then(NonZeroU8::new).unwrap_or_else(|| {
        let cure =
            "version 2 carries whole seconds, from 1s to 255s; for less, use version = 3 on all routers of this VRID";
        wrong_interval(report, raw, interval, cure);
        NonZeroU8::MIN
    })
}

fn centiseconds(report: &mut Report<'_>, raw: &raw::VirtualRouter, interval: Duration) -> Centiseconds {
    let millis = interval.as_millis();
    let whole = millis.is_multiple_of(10).then(|| u16::try_from(millis / 10).ok()).flatten();
    whole.and_then(Centiseconds::new).unwrap_or_else(|| {
        wrong_interval(report, raw, interval, "version 3 carries steps of 10ms, from 10ms to 40950ms");
        Centiseconds::SECOND
    })
}

fn wrong_interval(report: &mut Report<'_>, raw: &raw::VirtualRouter, interval: Duration, cure: &str) {
    let span = raw.advert_interval.as_ref().map_or(raw.interface.span(), Spanned::span);
    report.error(span, format!("vrrp.advert_interval is \"{}\"; {cure}", written(interval)));
}

fn auth_of(report: &mut Report<'_>, auth: &Spanned<raw::Auth>) -> Auth {
    let raw::Auth { r#type, password } = auth.get_ref();
    if let Some(kind) = r#type
        && !kind.get_ref().eq_ignore_ascii_case("pass")
    {
        let word = kind.get_ref();
        report.error(
            kind.span(),
            format!("vrrp.auth.type is \"{word}\"; it must be \"pass\": there is no other kind here"),
        );
    }
    let Some(password) = password else {
        report.error(
            auth.span(),
            "vrrp.auth has no `password`; write 1 to 8 characters, the same on all routers of this VRID",
        );
        return Auth::None;
    };
    let bytes = password.get_ref().as_bytes();
    match bytes.len() {
        1..=Password::BYTES => {}
        0 => report.error(password.span(), "vrrp.auth.password is empty; write 1 to 8 characters, or remove `auth`"),
        length => {
            let message = format!(
                "vrrp.auth.password has {length} bytes, and an advert carries {}; keepalived goes by the first {} of a longer \
                 one: write those",
                Password::BYTES,
                Password::BYTES
            );
            report.error(password.span(), message);
        }
    }
    Auth::Pass(Password::new(bytes))
}

fn checksum(report: &mut Report<'_>, raw: &raw::VirtualRouter, family: Family) -> (Coverage, ChecksumForm) {
    let Some(word) = &raw.checksum else { return (Coverage::WithPseudoHeader, ChecksumForm::AsHeard) };
    if family == Family::V6 {
        report.error(word.span(), "vrrp.checksum is about IPv4: over IPv6 there is one form only; remove it");
    }
    match word.get_ref().as_str() {
        "auto" => (Coverage::WithPseudoHeader, ChecksumForm::AsHeard),
        "rfc5798" => (Coverage::WithPseudoHeader, ChecksumForm::AsConfigured),
        "rfc9568" => (Coverage::MessageOnly, ChecksumForm::AsConfigured),
        other => {
            let message = format!("vrrp.checksum is \"{other}\"; it must be \"auto\", \"rfc5798\" or \"rfc9568\"");
            report.error(word.span(), message);
            (Coverage::WithPseudoHeader, ChecksumForm::AsHeard)
        }
    }
}

fn preemption(report: &mut Report<'_>, raw: &raw::VirtualRouter, priority: NonZeroU8) -> Preemption {
    let range = Duration::ZERO..=LONGEST_DELAY;
    let delay = duration_within(report, "vrrp.preempt_delay", raw.preempt_delay.as_ref(), Duration::ZERO, range);
    let pace = raw.preempt_pace.as_ref().map_or(Pace::MasterDown, |word| pace_of(report, word));
    let Some(never) = raw.preempt.as_ref().filter(|preempt| !preempt.get_ref()) else {
        return Preemption::After { delay, pace };
    };
    if priority.get() == OWNER {
        let cure = "use a priority of at most 254, or remove `preempt`";
        report.error(never.span(), format!("vrrp.priority 255 is the owner's, who always takes over; {cure}"));
    }
    for key in [&raw.preempt_delay, &raw.preempt_pace].into_iter().flatten() {
        report.error(
            key.span(),
            "with preempt = false nothing is taken over from a master that is well; remove this key",
        );
    }
    Preemption::Never
}

fn pace_of(report: &mut Report<'_>, word: &Spanned<String>) -> Pace {
    match word.get_ref().as_str() {
        "master_down" => Pace::MasterDown,
        "skew" => Pace::Skew,
        other => {
            let message = format!("vrrp.preempt_pace is \"{other}\"; it must be \"master_down\" or \"skew\"");
            report.error(word.span(), message);
            Pace::MasterDown
        }
    }
}

fn garp_of(report: &mut Report<'_>, raw: &raw::Garp) -> Announcements {
    let raw::Garp { repeat, delays, refresh, refresh_repeat } = raw;
    let default = Announcements::default();
    let mut frames = |key: &str, value: &Option<Spanned<i64>>, default: u8| {
        let frames = number(report, &format!("vrrp.garp.{key}"), value.as_ref(), 1..=100, default.into());
        u8::try_from(frames).unwrap_or(default)
    };
    let burst = frames("repeat", repeat, default.burst);
    let refresh_burst = frames("refresh_repeat", refresh_repeat, default.refresh_burst);
    let again = delays.as_ref().map_or(default.again, |delays| delays_of(report, delays));
    let range = Duration::ZERO..=LONGEST_REFRESH;
    let usual = default.refresh.unwrap_or_default();
    let refresh = duration_within(report, "vrrp.garp.refresh", refresh.as_ref(), usual, range);
    Announcements { burst, again, refresh: Some(refresh).filter(|refresh| !refresh.is_zero()), refresh_burst }
}

fn delays_of(report: &mut Report<'_>, written: &[Spanned<String>]) -> Vec<Duration> {
    let mut delays: Vec<Duration> = Vec::new();
    for one in written {
        let delay = duration(report, "vrrp.garp.delays", Some(one), INTERVAL);
        if delays.last().is_some_and(|former| *former >= delay) {
            report.error(one.span(), "vrrp.garp.delays must ascend: each is counted from the first burst");
        } else if delays.len() == MOST_DELAYS {
            report.error(one.span(), format!("vrrp.garp.delays has more than {MOST_DELAYS} durations"));
            break;
        }
        delays.push(delay);
    }
    delays
}

fn peers(report: &mut Report<'_>, raw: &raw::VirtualRouter, family: Family) -> Vec<IpAddr> {
    let mut peers = Vec::new();
    for written in &raw.unicast_peers {
        let Some(peer) = address(report, "vrrp.unicast_peers", written, family) else { continue };
        if peers.contains(&peer) {
            report.error(written.span(), format!("{peer} is twice in vrrp.unicast_peers"));
        } else if raw.source.as_ref().is_some_and(|source| source.get_ref().parse() == Ok(peer)) {
            report.error(
                written.span(),
                format!("{peer} is `source`, so it is this machine; `unicast_peers` are the others"),
            );
        }
        peers.push(peer);
    }
    peers
}

fn routes(report: &mut Report<'_>, raws: &[Spanned<raw::Route>], family: Family) -> Vec<Route> {
    let route = |raw: &Spanned<raw::Route>| {
        let raw::Route { to, via, dev, src, table, metric } = raw.get_ref();
        let interface = dev.as_ref().map(|dev| interface(report, "vrrp.routes.dev", dev.span(), dev.get_ref()));
        Some(Route {
            gateway: via.as_ref().and_then(|via| address(report, "vrrp.routes.via", via, family)),
            interface,
            source: src.as_ref().and_then(|src| address(report, "vrrp.routes.src", src, family)),
            table: table_of(report, "vrrp.routes.table", table.as_ref()),
            metric: number(report, "vrrp.routes.metric", metric.as_ref(), 0..=u32::MAX, 0),
            destination: network(report, "vrrp.routes.to", to, family)?,
        })
    };
    raws.iter().filter_map(route).collect()
}

fn rules(report: &mut Report<'_>, raws: &[Spanned<raw::Rule>], family: Family) -> Vec<Rule> {
    let rule = |raw: &Spanned<raw::Rule>| {
        let raw::Rule { from, to, table, priority } = raw.get_ref();
        if from.is_none() && to.is_none() {
            report
                .error(raw.span(), "a rule of vrrp.rules has neither `from` nor `to`, so it would be for all packets");
        }
        Rule {
            from: from.as_ref().and_then(|from| network(report, "vrrp.rules.from", from, family)),
            to: to.as_ref().and_then(|to| network(report, "vrrp.rules.to", to, family)),
            table: table_of(report, "vrrp.rules.table", Some(table)),
            priority: number(report, "vrrp.rules.priority", Some(priority), 1..=32_765, 1),
        }
    };
    raws.iter().map(rule).collect()
}

/// 255 is the kernel's own.
fn table_of(report: &mut Report<'_>, key: &str, table: Option<&Spanned<i64>>) -> u32 {
    let number = number(report, key, table, 1..=u32::MAX, MAIN);
    if let (255, Some(table)) = (number, table) {
        report.error(table.span(), format!("{key} is 255, the kernel's own table of local addresses"));
    }
    number
}
