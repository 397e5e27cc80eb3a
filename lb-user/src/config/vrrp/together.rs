//! All virtual routers of a file: what they must not have in common, and what the services say of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use lb_common::abi::{Mac, limits};
use toml::Spanned;

use super::super::problem::Report;
use super::super::program::{account, program};
use super::super::service::Located;
use super::super::values::name;
use super::super::{Director, Pool, Service, raw, syntax};
use super::addresses::{family_name, is_link_local};
use super::parse::{Known, router};
use super::{SyncGroup, Tracked, VirtualRouter, track};

/// All of `[[vrrp]]` and `[[sync_group]]`. What is wrong is in the report, and then the result is of no use.
pub fn parse(
    report: &mut Report<'_>,
    file: &raw::File,
    director: &Director,
    pools: &[Pool],
    services: &[Located<Service>],
) -> (Vec<VirtualRouter>, Vec<SyncGroup>) {
    let scripts = track::scripts(report, file);
    let known = Known { pools, scripts: &scripts };
    let mut routers: Vec<(Range<usize>, VirtualRouter)> = Vec::new();
    for raw in &file.vrrp {
        let Some(router) = router(report, raw, &known) else { continue };
        let located = (raw.get_ref(), raw.span());
        for (_, other) in &routers {
            compare(report, located.clone(), &router, other);
        }
        consider(report, raw, &router, director, services);
        untold(report, raw, &router, pools, services);
        routers.push((raw.span(), router));
    }
    within_limits(report, file, director, &routers);
    unmoved(report, &routers, services);
    unused_scripts(report, file, &routers);
    let routers: Vec<VirtualRouter> = routers.into_iter().map(|(_, router)| router).collect();
    let groups = groups(report, file, &routers);
    (routers, groups)
}

/// What two virtual routers must not have in common.
fn compare(
    report: &mut Report<'_>,
    (raw, span): (&raw::VirtualRouter, Range<usize>),
    router: &VirtualRouter,
    other: &VirtualRouter,
) {
    if router.name == other.name {
        let span = raw.name.as_ref().map_or(span, Spanned::span);
        report.error(span, format!("two virtual routers are named {}", router.name));
    }
    if (&router.interface, router.vrid, router.family) == (&other.interface, other.vrid, other.family) {
        let (vrid, interface, family) = (router.vrid, &router.interface, family_name(router.family));
        let message = format!(
            "virtual_router_id {vrid} is that of {} on {interface} for {family} already; give one of the two another number",
            other.name
        );
        report.error(raw.virtual_router_id.span(), message);
    }
    let written = raw.vips.get_ref().iter().chain(&raw.vips_excluded);
    let others: Vec<IpAddr> = other.all_vips().map(|vip| vip.addr()).collect();
    for vip in written {
        let text = vip.get_ref().split('/').next().unwrap_or_default();
        let Ok(address) = text.parse::<IpAddr>() else { continue };
        // A link-local address means another on each interface.
        if others.contains(&address) && (!is_link_local(address) || router.interface == other.interface) {
            report.error(
                vip.span(),
                format!("{address} is a vip of {} already; take it out of one of the two", other.name),
            );
        }
    }
}

/// What the author of a virtual router may not have meant.
fn consider(
    report: &mut Report<'_>,
    raw: &Spanned<raw::VirtualRouter>,
    router: &VirtualRouter,
    director: &Director,
    services: &[Located<Service>],
) {
    let raw = raw.get_ref();
    // A VLAN device on an interface of ours is not among the names, but frames for it come by that interface.
    let base = router.interface.split('.').next().unwrap_or_default();
    if !director.interfaces.iter().any(|name| *name == router.interface || name == base) {
        let message = format!(
            "{} is not in director.interfaces, so packets for the vips that come by it are not balanced, and a director that \
             is stuck goes on answering for them",
            router.interface
        );
        report.warning(raw.interface.span(), message);
    }
    for vip in raw.vips.get_ref() {
        let text = vip.get_ref().split('/').next().unwrap_or_default();
        let Ok(address) = text.parse::<IpAddr>() else { continue };
        if !is_link_local(address) && !services.iter().any(|(_, service)| service.vip == address) {
            let fate = if router.is_closed() { "is dropped (`accept = false`)" } else { "stays on this machine" };
            report.warning(vip.span(), format!("no service has the vip {address}; what comes for it {fate}"));
        }
    }
}

/// Pools that are tracked and that nobody looks at.
fn untold(
    report: &mut Report<'_>,
    raw: &Spanned<raw::VirtualRouter>,
    router: &VirtualRouter,
    pools: &[Pool],
    services: &[Located<Service>],
) {
    for track in &router.tracked {
        let Tracked::Pool(name) = &track.what else { continue };
        let is_used = |(_, service): &Located<Service>| pools.get(service.pool).is_some_and(|pool| pool.name == *name);
        if !services.iter().any(is_used) {
            let message = format!(
                "{} tracks pool {name}, which no service uses, so it is not checked; add a service, or take it out of `track`",
                router.name
            );
            report.error(raw.span(), message);
        }
    }
}

fn within_limits(
    report: &mut Report<'_>,
    file: &raw::File,
    director: &Director,
    routers: &[(Range<usize>, VirtualRouter)],
) {
    let Some(first) = file.vrrp.first() else { return };
    let vips: usize = routers.iter().map(|(_, router)| router.all_vips().count()).sum();
    // One lease for each, and one that is nobody's.
    let counts = [("virtual routers", routers.len(), limits::LEASES - 1), ("vips", vips, limits::MAX_VIPS)];
    for (what, count, most) in counts {
        if count > most as usize {
            report.error(first.span(), format!("the file has {count} {what}; {most} are possible"));
        }
    }
    // Packets are for us if they are for one of so many MACs.
    let macs: BTreeSet<Mac> = routers.iter().filter_map(|(_, router)| router.mac()).collect();
    let (all, most) = (director.interfaces.len() + macs.len(), limits::MAX_INTERFACES);
    if all > most {
        let message = format!(
            "{} virtual MACs and those of the interfaces are {all}; {most} are possible. Virtual routers with the same \
             virtual_router_id on different interfaces share one; or leave `virtual_mac` out",
            macs.len()
        );
        report.error(first.span(), message);
    }
}

/// Where some vips move, those that do not may have been forgotten.
fn unmoved(report: &mut Report<'_>, routers: &[(Range<usize>, VirtualRouter)], services: &[Located<Service>]) {
    if routers.is_empty() {
        return;
    }
    let moved: Vec<IpAddr> = routers.iter().flat_map(|(_, router)| router.all_vips()).map(|vip| vip.addr()).collect();
    for (span, service) in services.iter().filter(|(_, service)| !moved.contains(&service.vip)) {
        let message =
            format!("the vip of service {}, {}, is in no [[vrrp]], so nobody moves it", service.name, service.vip);
        report.warning(span.clone(), message);
    }
}

fn unused_scripts(report: &mut Report<'_>, file: &raw::File, routers: &[(Range<usize>, VirtualRouter)]) {
    for name in file.script.keys() {
        let mut tracked = routers.iter().flat_map(|(_, router)| &router.tracked);
        if !tracked.any(|track| matches!(&track.what, Tracked::Script(script) if script.name == *name.get_ref())) {
            report.warning(
                name.span(),
                format!("script {} is tracked by no virtual router, so it is not run", name.get_ref()),
            );
        }
    }
}

fn groups(report: &mut Report<'_>, file: &raw::File, routers: &[VirtualRouter]) -> Vec<SyncGroup> {
    let mut groups: Vec<SyncGroup> = Vec::new();
    for raw in &file.sync_group {
        let raw::SyncGroup { name: written, members, notify, notify_user } = raw.get_ref();
        let name = name(report, "sync_group.name", written);
        if groups.iter().any(|group| group.name == name) {
            report.error(written.span(), format!("two sync groups are named {name}"));
        }
        let members = members_of(report, &name, members, routers, &groups);
        let notify = notify.as_ref().map(|notify| program(report, "sync_group.notify", notify));
        let notify_user = notify_user.as_ref().and_then(|user| account(report, "sync_group.notify_user", user));
        groups.push(SyncGroup { name, members, notify, notify_user });
    }
    groups
}

fn members_of(
    report: &mut Report<'_>,
    group: &str,
    written: &Spanned<Vec<Spanned<String>>>,
    routers: &[VirtualRouter],
    groups: &[SyncGroup],
) -> Vec<usize> {
    let mut members = Vec::new();
    for name in written.get_ref() {
        let Some(index) = member(report, group, name, routers) else { continue };
        if members.contains(&index) {
            report.error(name.span(), format!("{} is twice in sync group {group}", name.get_ref()));
        } else if let Some(other) = groups.iter().find(|other| other.members.contains(&index)) {
            let message =
                format!("{} is in sync group {} already; make one group of the two", name.get_ref(), other.name);
            report.error(name.span(), message);
        }
        members.push(index);
    }
    if written.get_ref().len() < 2 {
        report.error(
            written.span(),
            format!("sync group {group} has fewer than two members; it would hold nothing together"),
        );
    }
    let mut priorities = members.iter().filter_map(|index| routers.get(*index)).map(|router| router.priority);
    let first = priorities.next();
    if priorities.any(|other| Some(other) != first) {
        let message = format!(
            "the members of sync group {group} differ in priority: where another director has it the other way round, they \
             pull the group to and fro; give them the same"
        );
        report.warning(written.span(), message);
    }
    members
}

fn member(report: &mut Report<'_>, group: &str, name: &Spanned<String>, routers: &[VirtualRouter]) -> Option<usize> {
    let found = routers.iter().position(|router| router.name == *name.get_ref());
    if found.is_none() {
        let names: Vec<&str> = routers.iter().map(|router| router.name.as_str()).collect();
        let cure = match syntax::nearest(name.get_ref(), &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("virtual routers: {}", if names.is_empty() { "none".into() } else { names.join(", ") }),
        };
        let message = format!("sync group {group}: no [[vrrp]] is named \"{}\"; {cure}", name.get_ref());
        report.error(name.span(), message);
    }
    found
}
