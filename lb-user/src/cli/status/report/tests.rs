//! What the operator sees.

use super::*;
use crate::control::{CheckStatus, InterfaceStatus, ServiceStatus};

fn real(name: &str, state: &str) -> RealStatus {
    RealStatus {
        name: name.into(),
        address: "10.0.0.1".into(),
        state: state.into(),
        file_weight: 3,
        weight: 3,
        share: 0.25,
        tier: 0,
        zone: None,
        mac: None,
        check: Some(CheckStatus { result: "up".into(), reason: "port 80 answers".into(), seconds: 61 }),
        order: None,
        flows: None,
    }
}

fn status() -> StatusReport {
    let order = OrderStatus {
        pool: "web".into(),
        address: "10.0.0.1".into(),
        duty: "drain".into(),
        weight: Some(7),
        who: "root (pid 7)".into(),
        seconds: 7200,
    };
    let drained = RealStatus { order: Some(order.clone()), weight: 0, flows: Some(1234), ..real("web2", "draining") };
    StatusReport {
        daemon: DaemonStatus {
            version: "0.1.0".into(),
            pid: 42,
            uptime_seconds: 90_000,
            config: "/etc/xdirector.toml".into(),
            log_level: "info".into(),
            trouble: None,
            reload_refused: Some("x.toml:3: no".into()),
        },
        interfaces: vec![InterfaceStatus {
            name: "eth0".into(),
            mode: "native".into(),
            up: true,
            mac: Some("02:00:00:00:00:01".into()),
            mtu: 1500,
        }],
        services: vec![ServiceStatus {
            name: "http".into(),
            vip: "fd00::100".into(),
            ports: "80".into(),
            protocol: "tcp".into(),
            pool: "web".into(),
        }],
        pools: vec![PoolStatus {
            name: "web".into(),
            check: Some("tcp".into()),
            min_healthy: 1,
            on_empty: "drop".into(),
            ring_size: 251,
            held: None,
            discovery: None,
            reals: vec![real("web1", "up"), drained],
        }],
        vrrp: Vec::new(),
        peering: Vec::new(),
        waiting_orders: Vec::new(),
    }
}

#[test]
fn a_status_is_this_text() {
    let expected = "\
xdirector 0.1.0, pid 42, up 1d 1h, config /etc/xdirector.toml, log level info
the last reload was refused: x.toml:3: no

interface  link  mode    mac                 mtu
eth0       up    native  02:00:00:00:00:01  1500

service  address             pool
http     [fd00::100]:80/tcp  web

pool web: check tcp; min_healthy 1, on_empty drop, 251 buckets
  real  address   state     weight  share  flows  since  check            order
  web1  10.0.0.1  up        3       25.0%  -      1m 1s  port 80 answers  -
  web2  10.0.0.1  draining  0 (3)   25.0%  1.23k  1m 1s  port 80 answers  drain and weight 7, by root (pid 7), 2h 0m ago
";
    assert_eq!(text(&status(), false, None), expected);
    let cut = text(&status(), false, Some(80));
    assert!(cut.lines().filter(|line| line.starts_with("  web")).all(|line| line.chars().count() <= 80), "{cut}");
}

#[test]
fn what_is_not_everyday_is_there_when_it_is_so() {
    let mut status = status();
    status.daemon.trouble = Some("no room".into());
    let pool = &mut status.pools[0];
    pool.held = Some("the link is down".into());
    pool.discovery = Some(DiscoveryStatus {
        source: "dns web.internal".into(),
        reals: 2,
        answered_seconds: None,
        trouble: Some("A: timed out".into()),
    });
    pool.reals[0].tier = 1;
    pool.reals[0].zone = Some("hz1".into());
    status.waiting_orders.extend(status.pools[0].reals[1].order.clone());
    status.vrrp.push(VrrpStatus {
        name: "VI_1".into(),
        interface: "eth0".into(),
        virtual_router_id: 66,
        state: "master".into(),
        seconds: 5,
        file_priority: 100,
        priority: 80,
        vips: vec!["10.0.0.100/24".into()],
        master: None,
        lease: Some(LeaseStatus { held: true, milliseconds: 2700 }),
        trouble: vec!["script chk".into()],
    });
    status.peering.push(PeeringStatus {
        peer: "10.0.0.3".into(),
        state: "connected".into(),
        connected_seconds: Some(1),
        pins_sent: 5,
        pins_received: 1500,
    });
    let text = text(&status, false, None);
    for words in [
        "TROUBLE: the kernel's tables are not what they should be: no room",
        "  HELD, its ring stays as it is: the link is down",
        "  dns web.internal: 2 real servers, no answer since the start",
        "  dns web.internal: the last answer stays: A: timed out",
        "  tier  zone  since",
        "waiting, because the real server is not there now: web/10.0.0.1: drain and weight 7",
        "VI_1  eth0       66  master for 5s  80 (100)  10.0.0.100/24  held, 2700 ms",
        "10.0.0.3  connected  1s             5  1.50k",
    ] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
}
