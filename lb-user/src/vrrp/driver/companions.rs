//! Routes and rules that go with the vips of one virtual router.

use std::io;

use ipnet::IpNet;
use nix::net::if_::if_nametoindex;

use super::Fate;
use super::rtnl::{Prepared, Requests};
use crate::config::VirtualRouter;
use crate::config::vrrp::{Route, Rule};

/// All of a router's, in the order in which they are added: rules after the routes that they lead to.
#[derive(Debug, Default)]
pub struct Companions {
    of: (Vec<Route>, Vec<Rule>, u32),
    list: Vec<Companion>,
}

#[derive(Debug)]
struct Companion {
    /// What a message calls it.
    net: IpNet,
    add: Prepared,
    remove: Prepared,
    is_added: bool,
}

impl Companions {
    /// Those of this configuration, with routes on the interface of this index unless they say another one. What was added
    /// for a former one is taken away.
    pub fn renew(
        &mut self,
        spec: &VirtualRouter,
        interface: Option<u32>,
        requests: &mut Requests,
    ) -> Vec<(IpNet, Fate)> {
        let of = (spec.routes.clone(), spec.rules.clone(), interface.unwrap_or(0));
        if self.of == of {
            return Vec::new();
        }
        let fates = self.release(requests);
        self.of = of;
        let Some(interface) = interface else {
            self.list.clear();
            return fates;
        };
        let route = |route: &Route| {
            // One that is not there is 0, which the kernel refuses.
            let by = route.interface.as_deref().map(|name| if_nametoindex(name).unwrap_or(0)).unwrap_or(interface);
            Companion::new(route.destination, Prepared::route(route, by))
        };
        let rule = |rule: &Rule| {
            let net = rule.from.or(rule.to).unwrap_or_default();
            Companion::new(net, Prepared::rule(rule))
        };
        self.list = spec.routes.iter().map(route).chain(spec.rules.iter().map(rule)).collect();
        fates
    }

    /// Adds them. What is there already is somebody else's.
    pub fn take(&mut self, requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        let missing = self.list.iter_mut().filter(|companion| !companion.is_added);
        missing.filter_map(|companion| companion.take(requests).err().map(|fate| (companion.net, fate))).collect()
    }

    /// Adds what was added once more: with an address the kernel takes away routes that have it for their source.
    pub fn restore(&mut self, requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        let added = self.list.iter_mut().filter(|companion| companion.is_added);
        let fate = |companion: &mut Companion| match companion.take(requests) {
            // It is still there.
            Ok(()) | Err(Fate::Foreign) => None,
            Err(fate) => Some((companion.net, fate)),
        };
        added.filter_map(fate).collect()
    }

    /// Takes away what was added, the last first.
    pub fn release(&mut self, requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        let added = self.list.iter_mut().rev().filter(|companion| companion.is_added);
        added.filter_map(|companion| companion.release(requests).err().map(|fate| (companion.net, fate))).collect()
    }
}

impl Companion {
    fn new(net: IpNet, (add, remove): (Prepared, Prepared)) -> Self {
        Self { net, add, remove, is_added: false }
    }

    fn take(&mut self, requests: &mut Requests) -> Result<(), Fate> {
        match requests.execute(&mut self.add) {
            Ok(()) => {
                self.is_added = true;
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Err(Fate::Foreign),
            Err(error) => Err(Fate::Refused(error)),
        }
    }

    fn release(&mut self, requests: &mut Requests) -> Result<(), Fate> {
        self.is_added = false;
        match requests.execute(&mut self.remove) {
            Err(error) if !is_gone(&error) => Err(Fate::Refused(error)),
            _ => Ok(()),
        }
    }
}

/// With its interface, or with the address that it was by.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::ENODEV))
}
