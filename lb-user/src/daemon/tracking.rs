//! What the tracking of virtual routers is told by others: how pools are, and how to ping.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{CheckKind, Config, Pool};
use crate::health::probe;
use crate::state::{Health, View};
use crate::track::{Ping, Tracking};
use crate::vrrp::priority;

/// A ping as health checks of type "icmp" do it.
pub fn ping() -> Ping {
    Arc::new(|address: IpAddr, limit: Duration| {
        Box::pin(async move { probe(&CheckKind::Icmp, SocketAddr::new(address, 0), limit).await.is_ok() })
    })
}

/// Tells how all pools are. Cheap where nothing has changed.
pub fn tell_pools(tracking: &Tracking, config: &Config, view: &View) {
    for pool in &config.pools {
        tracking.handle_pool(&pool.name, pool_health(pool, view));
    }
}

/// Well with as many healthy real servers as it wants, ill if there cannot be so many, not known before its checks have said
/// which.
fn pool_health(pool: &Pool, view: &View) -> priority::Health {
    if pool.check.is_none() {
        return priority::Health::Well;
    }
    let wanted = pool.min_healthy as usize;
    let count =
        |health: Health| pool.reals.iter().filter(|real| view.health_of(&pool.name, real.address) == health).count();
    let healthy = count(Health::Up);
    if healthy >= wanted {
        priority::Health::Well
    } else if healthy + count(Health::Unchecked) >= wanted {
        priority::Health::Unknown
    } else {
        priority::Health::Ill
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Check, Real};

    #[test]
    fn a_pool_is_well_with_as_many_healthy_real_servers_as_it_wants() {
        use Health::{Down, Unchecked, Up};
        use priority::Health::{Ill, Well};
        let rows = [
            (1, [Up, Down, Down], Well),
            (2, [Up, Up, Down], Well),
            (2, [Up, Down, Down], Ill),
            (1, [Down, Down, Down], Ill),
            (1, [Unchecked, Down, Down], priority::Health::Unknown),
            (2, [Up, Unchecked, Down], priority::Health::Unknown),
            (2, [Up, Up, Unchecked], Well),
            (3, [Up, Unchecked, Down], Ill),
        ];
        let address = |number: usize| format!("10.0.0.{number}").parse().expect("an address");
        for (min_healthy, healths, expected) in rows {
            let mut view = View::default();
            for (number, health) in healths.into_iter().enumerate() {
                view.set_health("web", address(number), health);
            }
            let reals = (0..healths.len()).map(|number| Real::new("", address(number), 1)).collect();
            let (second, kind) = (Duration::from_secs(1), CheckKind::Tcp);
            let check =
                Check { kind, port: 80, interval: second, fast_interval: second, timeout: second, rise: 1, fall: 1 };
            let pool = Pool { min_healthy, check: Some(check), ..Pool::new("web", 251, reals) };
            assert_eq!(pool_health(&pool, &view), expected, "{min_healthy} of {healths:?}");
            assert_eq!(pool_health(&Pool { check: None, ..pool }, &view), Well);
        }
    }
}
