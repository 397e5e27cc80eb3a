//! All there is to know, at one moment.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_common::abi::{Name, RealId, RealInfo, RealState};
use tokio::time::Instant;

use super::Daemon;
use super::control::{Verdict, unix_now};
use crate::config::{Pool, Real};
use crate::control::{
    CheckStatus, DaemonStatus, InterfaceStatus, OrderStatus, PeeringStatus, PoolStatus, RealStatus, ServiceStatus,
    StatusReport,
};
use crate::peering;
use crate::saved::Placed;
use crate::state::{Directory, Duty, Remembered, address, owned_buckets};

/// What the kernel's tables say.
struct Tables {
    directory: Directory,
    owned: HashMap<RealId, u32>,
    flows: HashMap<RealId, Remembered>,
}

impl Daemon {
    /// Takes milliseconds with thousands of real servers.
    pub(super) async fn status(&mut self) -> StatusReport {
        let flows = self.look_at_flows().cloned().unwrap_or_default();
        let directory = Directory::read(&self.kernel);
        let tables = Tables { owned: owned_buckets(&self.kernel, &directory), directory, flows };
        StatusReport {
            daemon: self.daemon_status(),
            interfaces: self.interface_status(),
            services: self.service_status(),
            pools: self.config.pools.iter().map(|pool| self.pool_status(pool, &tables)).collect(),
            vrrp: self.vrrp.status().await,
            peering: self.peering_status(),
            waiting_orders: self.waiting_orders(),
        }
    }

    fn daemon_status(&self) -> DaemonStatus {
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: self.control.started.elapsed().as_secs(),
            config: self.path.display().to_string(),
            log_level: self.control.log_level().name().into(),
            trouble: self.control.trouble.clone(),
            reload_refused: self.control.reload_refused.clone(),
        }
    }

    fn interface_status(&self) -> Vec<InterfaceStatus> {
        let links = self.world.links.iter().map(|link| InterfaceStatus {
            name: link.name.clone(),
            mode: self.modes.get(&link.index).map_or("none", |mode| mode.name()).into(),
            up: link.up,
            mac: link.mac.map(|mac| mac.to_string()),
            mtu: link.mtu,
        });
        links.collect()
    }

    fn service_status(&self) -> Vec<ServiceStatus> {
        let services = self.config.services.iter().map(|service| ServiceStatus {
            name: service.name.clone(),
            vip: service.vip.to_string(),
            ports: service.ports.to_string(),
            protocol: service.protocol_name().into(),
            pool: self.config.pools[service.pool].name.clone(),
        });
        services.collect()
    }

    fn pool_status(&self, pool: &Pool, tables: &Tables) -> PoolStatus {
        let known = pool.reals.iter().map(|real| self.real_status(pool, real, tables));
        let name = Name::new(&pool.name);
        let infos = tables.directory.reals.iter().filter(|(_, info)| info.pool == name);
        let held = self.engine.held();
        let departed = infos.filter_map(|(id, info)| departed(pool, *id, info, tables));
        PoolStatus {
            name: pool.name.clone(),
            check: pool.check.as_ref().map(|check| format!("{} every {:?}", check.describe(), check.interval)),
            min_healthy: pool.min_healthy,
            on_empty: pool.on_empty.name().into(),
            ring_size: pool.ring_size,
            held: held.iter().find(|(held, _)| *held == pool.name).map(|(_, cause)| cause.to_string()),
            discovery: self.discovery_status(pool),
            reals: known.chain(departed).collect(),
        }
    }

    fn real_status(&self, pool: &Pool, real: &Real, tables: &Tables) -> RealStatus {
        let key = (pool.name.clone(), real.address);
        let placed = self.control.orders.get(&key);
        let id = tables.directory.real(&Name::new(&pool.name), real.address);
        let info = id.and_then(|id| tables.directory.reals.get(&id));
        // Not in the tables: an answer, or a file, has just come, and they cannot be written.
        let state = info.and_then(|info| RealState::new(info.state)).unwrap_or(RealState::Unresolved);
        let takes = state.is_usable() && placed.is_none_or(|placed| placed.order.duty == Duty::Serve);
        RealStatus {
            name: real.name.clone(),
            address: real.address.to_string(),
            state: state.name().into(),
            file_weight: real.weight,
            weight: info.map_or(real.weight, |info| info.weight),
            share: share(id, pool, tables),
            tier: real.tier,
            zone: real.zone.clone(),
            mac: self.world.view.macs.get(&real.address).map(ToString::to_string),
            check: self.control.verdicts.get(&key).map(check_status),
            order: placed.map(|placed| order_status(&key, placed)),
            flows: (!takes).then(|| flows_on(id, tables)),
        }
    }

    fn peering_status(&self) -> Vec<PeeringStatus> {
        let all = self.peers.peering().map(|peering| peering.status()).unwrap_or_default();
        let one = |status: peering::PeeringStatus| PeeringStatus {
            peer: status.peer.to_string(),
            state: peer_state(&status),
            connected_seconds: status.connected.map(|connected| connected.as_secs()),
            pins_sent: status.pins_sent,
            pins_received: status.pins_received,
        };
        all.into_iter().map(one).collect()
    }

    fn waiting_orders(&self) -> Vec<OrderStatus> {
        let is_there = |(pool, address): &(String, IpAddr)| {
            let pool = self.config.pools.iter().find(|other| other.name == *pool);
            pool.is_some_and(|pool| pool.reals.iter().any(|real| real.address == *address))
        };
        let waiting = self.control.orders.iter().filter(|(key, _)| !is_there(key));
        waiting.map(|(key, placed)| order_status(key, placed)).collect()
    }
}

/// Connected or not, and what keeps connections from surviving a move.
fn peer_state(status: &peering::PeeringStatus) -> String {
    if status.connected.is_none() {
        return status.last_error.clone().unwrap_or_else(|| "not connected".into());
    }
    let differs = [
        (status.same_seed, "another hash_seed"),
        (status.same_pins, "another limits.pins"),
        (status.same_rings, "rings made of something else"),
    ];
    let differs: Vec<&str> =
        differs.into_iter().filter(|(same, _)| *same == Some(false)).map(|(_, what)| what).collect();
    if differs.is_empty() { "connected".into() } else { format!("connected; it has {}", differs.join(", ")) }
}

fn check_status(verdict: &Verdict) -> CheckStatus {
    let Verdict { health, reason, at } = verdict;
    CheckStatus { result: health.name().into(), reason: reason.clone(), seconds: age(*at) }
}

fn order_status((pool, address): &(String, IpAddr), placed: &Placed) -> OrderStatus {
    OrderStatus {
        pool: pool.clone(),
        address: address.to_string(),
        duty: placed.order.duty.name().into(),
        weight: placed.order.weight,
        who: placed.who.clone(),
        seconds: unix_now().saturating_sub(placed.since),
    }
}

/// In seconds.
pub(super) fn age(at: Instant) -> u64 {
    at.elapsed().as_secs()
}

fn share(id: Option<RealId>, pool: &Pool, tables: &Tables) -> f64 {
    let owned = id.and_then(|id| tables.owned.get(&id)).copied().unwrap_or(0);
    f64::from(owned) / f64::from(pool.ring_size.max(1))
}

fn flows_on(id: Option<RealId>, tables: &Tables) -> u64 {
    id.and_then(|id| tables.flows.get(&id)).map_or(0, |flows| flows.live)
}

/// One that the pool has no longer, but whose flows have not ended.
fn departed(pool: &Pool, id: RealId, info: &RealInfo, tables: &Tables) -> Option<RealStatus> {
    let address = address(info.address, info.family)?;
    if pool.reals.iter().any(|real| real.address == address) {
        return None;
    }
    Some(RealStatus {
        name: info.name.as_str().into(),
        address: address.to_string(),
        state: RealState::new(info.state)?.name().into(),
        file_weight: 0,
        weight: 0,
        share: share(Some(id), pool, tables),
        tier: 0,
        zone: None,
        mac: None,
        check: None,
        order: None,
        flows: Some(flows_on(Some(id), tables)),
    })
}
