//! Which lease the vips of a virtual router are answered under, and which of them lead to services only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::VipGuard;
use lb_common::abi::limits::{LEASES, MAX_VIPS};

use crate::config::VirtualRouter;

/// Why there is no lease for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Too many virtual routers, those about to be removed counted too.
    #[error("{LEASES} virtual routers are the most; those that a reload removes count until it is done")]
    Routers,
    /// Too many vips.
    #[error("{0} addresses of virtual routers are more than {MAX_VIPS}, which is the most")]
    Vips(usize),
}

/// A lease for each router, in their order. One whose vips have a lease keeps it, so that a new daemon finds out what its
/// predecessor held; a lease that is in use is given to nobody else.
///
/// # Errors
/// See [`LeaseError`].
pub fn assign_leases(routers: &[VirtualRouter], current: &BTreeMap<IpAddr, VipGuard>) -> Result<Vec<u32>, LeaseError> {
    let mut used: BTreeSet<u32> = BTreeSet::new();
    let mut known = |router: &VirtualRouter| {
        let lease = router.all_vips().find_map(|vip| current.get(&vip.addr())).map(|guard| guard.lease());
        lease.filter(|lease| *lease < LEASES && used.insert(*lease))
    };
    let known: Vec<Option<u32>> = routers.iter().map(&mut known).collect();
    let taken: BTreeSet<u32> = current.values().map(|guard| guard.lease()).collect();
    let mut free = (0..LEASES).filter(|lease| !taken.contains(lease));
    known.into_iter().map(|lease| lease.or_else(|| free.next()).ok_or(LeaseError::Routers)).collect()
}

/// What is special about each vip, for routers and leases in the same order.
///
/// # Errors
/// See [`LeaseError`].
pub fn guards(routers: &[VirtualRouter], leases: &[u32]) -> Result<BTreeMap<IpAddr, VipGuard>, LeaseError> {
    let guards = routers.iter().zip(leases).flat_map(|(router, lease)| {
        let guard = VipGuard::new(*lease, router.is_closed());
        router.all_vips().map(move |vip| (vip.addr(), guard))
    });
    let all: BTreeMap<IpAddr, VipGuard> = guards.collect();
    if all.len() > MAX_VIPS as usize { Err(LeaseError::Vips(all.len())) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(name: &str, vip: &str) -> VirtualRouter {
        VirtualRouter::new(name, "eth0", std::num::NonZeroU8::MIN, vec![vip.parse().unwrap()]).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_router_keeps_its_lease_and_a_new_one_gets_one_that_nobody_has() {
        let open = |lease| VipGuard::new(lease, false);
        let current =
            [(address("10.0.0.1"), open(0)), (address("10.0.0.2"), open(1)), (address("10.0.0.9"), open(2))].into();
        let mut routers = [router("new", "10.0.0.7/32"), router("b", "10.0.0.2/32"), router("a", "10.0.0.1/32")];
        let leases = assign_leases(&routers, &current).unwrap();
        assert_eq!(leases, [3, 1, 0]);
        routers[1].accept = false;
        let closed = VipGuard::new(1, true);
        let expected =
            [(address("10.0.0.1"), open(0)), (address("10.0.0.2"), closed), (address("10.0.0.7"), open(3))].into();
        assert_eq!(guards(&routers, &leases), Ok(expected));
        assert_eq!(assign_leases(&routers[1..2], &[(address("10.0.0.2"), closed)].into()), Ok(vec![1]));
    }

    #[test]
    fn two_routers_that_shared_a_lease_do_so_no_longer() {
        let four = VipGuard::new(4, false);
        let current = [(address("10.0.0.1"), four), (address("10.0.0.2"), four)].into();
        let routers = [router("a", "10.0.0.1/32"), router("b", "10.0.0.2/32")];
        assert_eq!(assign_leases(&routers, &current), Ok(vec![4, 0]));
    }

    #[test]
    fn more_routers_than_leases_are_refused() {
        let routers = vec![router("a", "10.0.0.1/32"); LEASES as usize + 1];
        assert_eq!(assign_leases(&routers, &BTreeMap::new()), Err(LeaseError::Routers));
    }
}
