//! A status to text. Pure.

use crate::cli::output::{Table, ago, si};
use crate::control::{
    DaemonStatus, DiscoveryStatus, LeaseStatus, OrderStatus, PeeringStatus, PoolStatus, RealStatus, StatusReport,
    VrrpStatus,
};

const BOLD: Option<&str> = Some("1");
const RED: Option<&str> = Some("31");
const YELLOW: Option<&str> = Some("33");

/// Lines are cut to `width`, if there is one.
pub fn text(status: &StatusReport, colours: bool, width: Option<usize>) -> String {
    let StatusReport { daemon, interfaces: _, services: _, pools, vrrp, peering, waiting_orders } = status;
    let render = |table: Table| table.cut(width).render(colours);
    let mut text = head(daemon) + "\n" + &render(interfaces(status)) + "\n" + &render(services(status));
    if !vrrp.is_empty() {
        text += &format!("\n{}", render(routers(vrrp)));
    }
    if !peering.is_empty() {
        text += &format!("\n{}", render(peers(peering)));
    }
    for pool in pools {
        text += &format!("\n{}{}", pool_head(pool), render(reals(pool)));
    }
    for order in waiting_orders {
        let (words, address) = (order_in_words(order), &order.address);
        text += &format!("\nwaiting, because the real server is not there now: {}/{address}: {words}\n", order.pool);
    }
    text
}

fn head(daemon: &DaemonStatus) -> String {
    let DaemonStatus { version, pid, uptime_seconds, config, log_level, trouble, reload_refused } = daemon;
    let up = ago(*uptime_seconds);
    let mut text = format!("xdirector {version}, pid {pid}, up {up}, config {config}, log level {log_level}\n");
    if let Some(trouble) = trouble {
        text += &format!("TROUBLE: the kernel's tables are not what they should be: {trouble}\n");
    }
    if let Some(why) = reload_refused {
        text += &format!("the last reload was refused: {why}\n");
    }
    text
}

fn interfaces(status: &StatusReport) -> Table {
    let mut table = Table::new(4, &["interface", "link", "mode", "mac", "mtu"]);
    for interface in &status.interfaces {
        let link = if interface.up { "up" } else { "down" };
        let mac = interface.mac.clone().unwrap_or_else(|| "-".into());
        let cells = vec![interface.name.clone(), link.into(), interface.mode.clone(), mac, interface.mtu.to_string()];
        table.row(cells, if interface.up { None } else { RED });
    }
    table
}

fn services(status: &StatusReport) -> Table {
    let mut table = Table::new(3, &["service", "address", "pool"]);
    for service in &status.services {
        let vip = if service.vip.contains(':') { format!("[{}]", service.vip) } else { service.vip.clone() };
        let address = format!("{vip}:{}/{}", service.ports, service.protocol);
        table.row(vec![service.name.clone(), address, service.pool.clone()], None);
    }
    table
}

fn pool_head(pool: &PoolStatus) -> String {
    let PoolStatus { name, check, min_healthy, on_empty, ring_size, held, discovery, reals: _ } = pool;
    let check = check.as_deref().unwrap_or("none");
    let mut text =
        format!("pool {name}: check {check}; min_healthy {min_healthy}, on_empty {on_empty}, {ring_size} buckets\n");
    if let Some(why) = held {
        text += &format!("  HELD, its ring stays as it is: {why}\n");
    }
    if let Some(DiscoveryStatus { source, reals, answered_seconds, trouble }) = discovery {
        let when = match answered_seconds {
            Some(seconds) => format!("answered {} ago", ago(*seconds)),
            None => "no answer since the start".into(),
        };
        text += &format!("  {source}: {reals} real servers, {when}\n");
        if let Some(trouble) = trouble {
            text += &format!("  {source}: the last answer stays: {trouble}\n");
        }
    }
    text
}

fn reals(pool: &PoolStatus) -> Table {
    let has = |any: fn(&RealStatus) -> bool| pool.reals.iter().any(any);
    let (tiers, zones) = (has(|real| real.tier > 0), has(|real| real.zone.is_some()));
    let mut head = vec!["  real", "address", "state", "weight", "share", "flows"];
    head.extend(tiers.then_some("tier"));
    head.extend(zones.then_some("zone"));
    head.extend(["since", "check", "order"]);
    let mut table = Table::new(head.len(), &head);
    for real in &pool.reals {
        let mut cells = cells(real);
        cells.extend(tiers.then(|| real.tier.to_string()));
        cells.extend(zones.then(|| real.zone.clone().unwrap_or_else(|| "-".into())));
        let check = real.check.as_ref();
        cells.push(check.map_or_else(|| "-".into(), |check| ago(check.seconds)));
        cells.push(check.map_or_else(|| "-".into(), |check| check.reason.clone()));
        cells.push(real.order.as_ref().map_or_else(|| "-".into(), order_in_words));
        let colour = match real.state.as_str() {
            "down" | "unresolved" => RED,
            _ if real.order.is_some() || real.state == "draining" => YELLOW,
            _ => None,
        };
        table.row(cells, colour);
    }
    table
}

fn cells(real: &RealStatus) -> Vec<String> {
    let weight = match real.weight == real.file_weight {
        true => real.weight.to_string(),
        false => format!("{} ({})", real.weight, real.file_weight),
    };
    vec![
        format!("  {}", real.name),
        real.address.clone(),
        real.state.clone(),
        weight,
        format!("{:.1}%", real.share * 100.0),
        real.flows.map_or_else(|| "-".into(), |flows| si(flows as f64)),
    ]
}

fn order_in_words(order: &OrderStatus) -> String {
    let weight = order.weight.map(|weight| format!("weight {weight}"));
    let duty = (order.duty != "serve").then(|| order.duty.clone());
    let what: Vec<String> = duty.into_iter().chain(weight).collect();
    format!("{}, by {}, {} ago", what.join(" and "), order.who, ago(order.seconds))
}

fn routers(vrrp: &[VrrpStatus]) -> Table {
    let mut table = Table::new(7, &["vrrp", "interface", "id", "state", "priority", "vips", "lease", "trouble"]);
    for router in vrrp {
        let lease = match &router.lease {
            Some(LeaseStatus { held: true, milliseconds }) => format!("held, {milliseconds} ms"),
            Some(LeaseStatus { held: false, .. }) => "run out: silent".into(),
            None => "-".into(),
        };
        let priority = match router.priority == router.file_priority {
            true => router.priority.to_string(),
            false => format!("{} ({})", router.priority, router.file_priority),
        };
        let state = format!("{} for {}", router.state, ago(router.seconds));
        let (id, vips, trouble) =
            (router.virtual_router_id.to_string(), router.vips.join(" "), router.trouble.join("; "));
        let cells = vec![router.name.clone(), router.interface.clone(), id, state, priority, vips, lease, trouble];
        let colour = match router.state.as_str() {
            "master" => BOLD,
            "fault" => RED,
            _ => None,
        };
        table.row(cells, colour);
    }
    table
}

fn peers(peering: &[PeeringStatus]) -> Table {
    let mut table = Table::new(3, &["director", "state", "since", "pins sent", "taken"]);
    for peer in peering {
        let since = peer.connected_seconds.map_or_else(String::new, ago);
        let pins = [peer.pins_sent, peer.pins_received].map(|pins| si(pins as f64));
        let cells = [peer.peer.clone(), peer.state.clone(), since];
        table.row(cells.into_iter().chain(pins).collect(), None);
    }
    table
}

#[cfg(test)]
mod tests;
