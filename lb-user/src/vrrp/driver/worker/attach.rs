//! Where routers are attached: interfaces that come, change and go, and addresses that somebody takes away.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::super::super::announce::{Family, virtual_mac};
use super::super::super::priority::Effective;
use super::super::macvlan::{Macvlan, is_ours, quieten, unquieten};
use super::super::port::Port;
use super::super::router::{Attachment, Router};
use super::super::rtnl::{Address, Link, Prepared};
use super::super::wire::{Cast, Speaker};
use super::super::{Fate, Obstacle, VrrpEvent};
use super::{Worker, is_at};
use crate::config::VirtualRouter;

/// The kernel's interfaces and addresses.
#[derive(Debug, Default)]
struct Surroundings {
    links: Vec<Link>,
    addresses: Vec<Address>,
}

impl Worker {
    /// Looks at all interfaces and addresses, and has every router be where it should.
    pub(super) fn look_around(&mut self) {
        let surroundings = match self.requests.links().and_then(|links| Ok((links, self.requests.addresses()?))) {
            Ok((links, addresses)) => Surroundings { links, addresses },
            Err(error) => {
                self.retry.note_failure(self.clock.now().instant);
                return self.trouble("reading interfaces and addresses", error);
            }
        };
        for index in 0..self.routers.len() {
            self.place(index, &surroundings);
            self.judge(index);
            self.restore(index, &surroundings);
        }
        self.drop_unused();
        self.refresh_filters();
    }

    /// Takes away interfaces of ours that no router uses.
    pub(super) fn clear_macvlans(&mut self) -> io::Result<()> {
        let links = self.requests.links()?;
        for link in links.into_iter().filter(|link| is_ours(&link.name)) {
            let is_used = |router: &Router| router.attachment.as_ref().is_some_and(|at| at.vip_interface == link.index);
            if !self.routers.iter().any(is_used) {
                // If that fails, it has gone with the one that it was on.
                self.requests.execute(&mut Prepared::remove_link(link.index)).ok();
            }
        }
        Ok(())
    }

    /// Attaches a router where it belongs now.
    fn place(&mut self, index: usize, surroundings: &Surroundings) {
        let Some(router) = self.routers.get_mut(index) else { return };
        let found = find(router, surroundings);
        let link = surroundings.links.iter().find(|link| link.name == router.spec.interface).map(|link| link.index);
        router.link = link;
        let (attachment, obstacle) = match found {
            Err(obstacle) => (None, Some(obstacle)),
            Ok((link, source)) if is_attached(router, &link, source, surroundings) => {
                let obstacle = (!link.up).then_some(Obstacle::Down);
                return self.note_place(index, obstacle);
            }
            Ok((link, source)) => match self.attachment(index, &link, source) {
                Ok(attachment) => (Some(attachment), (!link.up).then_some(Obstacle::Down)),
                Err(error) => {
                    self.retry.note_failure(self.clock.now().instant);
                    (None, Some(Obstacle::Sockets(error.raw_os_error().unwrap_or(0))))
                }
            },
        };
        let now = self.now().instant;
        if attachment.is_none() {
            // While it still can.
            self.note_place(index, obstacle);
            self.judge(index);
        }
        self.with_vips(index, |router, requests| router.attach(attachment, requests, now));
        self.note_place(index, obstacle);
        self.settle(index);
    }

    fn note_place(&mut self, index: usize, obstacle: Option<Obstacle>) {
        if let Some(router) = self.routers.get_mut(index) {
            router.misplaced = obstacle;
        }
    }

    /// Whether a router can work, and who is to be told if that has changed.
    pub(super) fn judge(&mut self, index: usize) {
        let Some(router) = self.routers.get_mut(index) else { return };
        let tracked = (router.effective == Effective::Fault).then_some(Obstacle::Tracked);
        let obstacle = router.misplaced.or(tracked);
        let former = std::mem::replace(&mut router.obstacle, obstacle);
        if former == obstacle {
            return;
        }
        let name = Arc::clone(&router.name);
        match obstacle {
            Some(obstacle) => self.tell(VrrpEvent::Blocked { router: name, obstacle }),
            None => self.tell(VrrpEvent::Unblocked { router: name }),
        }
        if former.is_some() != obstacle.is_some() {
            self.tell_fault(index, obstacle.is_some());
        }
    }

    fn restore(&mut self, index: usize, surroundings: &Surroundings) {
        let mut restored = false;
        self.with_vips(index, |router, requests| {
            let fates = router.restore(&surroundings.addresses, requests);
            restored = fates.iter().any(|(_, fate)| matches!(fate, Fate::Restored));
            fates
        });
        if restored
            && let Some(router) = self.routers.get(index)
            && let Err(error) = router.announce(1)
        {
            self.trouble("announcing vips that were taken away", error);
        }
    }

    fn attachment(&mut self, index: usize, link: &Link, source: IpAddr) -> io::Result<Attachment> {
        let spec = self.routers.get(index).map(|router| router.spec.clone()).ok_or(io::ErrorKind::NotFound)?;
        let mac = link.mac.ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let cast = if spec.unicast_peers.is_empty() { Cast::Group } else { Cast::Peers };
        let port = self.port(link.index, spec.family, cast)?;
        let speaker = if spec.unicast_peers.is_empty() { None } else { Some(Speaker::open(link.index, source)?) };
        let mut at = Attachment { port, source, own_mac: mac, mac, vip_interface: link.index, macvlan: None, speaker };
        if spec.virtual_mac {
            at.mac = virtual_mac(spec.family, spec.vrid);
            let macvlan = Macvlan::open(&mut self.requests, link, spec.family, spec.vrid, at.mac)?;
            if quieten(&link.name)? {
                self.quietened.insert(link.name.clone());
            }
            at.vip_interface = macvlan.index;
            at.macvlan = Some(macvlan);
        }
        Ok(at)
    }

    /// That of an interface, a family and a kind of adverts.
    fn port(&mut self, interface: u32, family: Family, cast: Cast) -> io::Result<Rc<Port>> {
        let is_it = |port: &&Rc<Port>| port.interface == interface && port.family == family && port.cast == cast;
        let known = self.ports.iter().find(is_it);
        if let Some(port) = known {
            return Ok(Rc::clone(port));
        }
        let port = Rc::new(Port::open(interface, family, cast)?);
        self.epoll.add(&port.listener, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        self.epoll.add(&port.ether, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        self.ports.push(Rc::clone(&port));
        Ok(port)
    }

    /// Ports that no router is at, and what was changed of interfaces for virtual MACs that are no more.
    pub(super) fn drop_unused(&mut self) {
        let routers = &self.routers;
        self.ports.retain(|port| routers.iter().any(|router| is_at(router, port)));
        self.quietened.retain(|parent| {
            let is_on = |router: &Router| {
                let macvlan = router.attachment.as_ref().and_then(|at| at.macvlan.as_ref());
                macvlan.is_some_and(|macvlan| macvlan.parent == *parent)
            };
            let is_used = routers.iter().any(is_on);
            if !is_used {
                // If that fails, it has gone.
                unquieten(parent).ok();
            }
            is_used
        });
    }

    fn refresh_filters(&mut self) {
        for place in 0..self.ports.len() {
            let Some(port) = self.ports.get(place).map(Rc::clone) else { return };
            let here = self.routers.iter().filter(|router| is_at(router, &port));
            let vips: Vec<IpAddr> = here.flat_map(|router| router.all_vips()).map(|net| net.addr()).collect();
            if let Err(error) = port.listen_for(&vips) {
                self.trouble("listening for claims of vips", error);
            }
        }
    }
}

fn is_attached(router: &Router, link: &Link, source: IpAddr, surroundings: &Surroundings) -> bool {
    let is_same = |at: &Attachment| {
        let unicast = !router.spec.unicast_peers.is_empty();
        let vip_link = surroundings.links.iter().find(|link| link.index == at.vip_interface);
        at.port.interface == link.index
            && Some(at.own_mac) == link.mac
            && at.source == source
            && at.speaker.is_some() == unicast
            && vip_link.is_some_and(|vip_link| vip_link.up || !link.up)
    };
    router.attachment.as_ref().is_some_and(is_same)
}

/// The interface of a router, and where its adverts are to come from.
fn find(router: &Router, surroundings: &Surroundings) -> Result<(Link, IpAddr), Obstacle> {
    let link = surroundings.links.iter().find(|link| link.name == router.spec.interface);
    let link = link.ok_or(Obstacle::NoInterface)?;
    let own = surroundings.addresses.iter().filter(|address| address.interface == link.index);
    let source = match router.spec.source {
        Some(source) if surroundings.addresses.iter().any(|address| address.net.addr() == source) => source,
        Some(_) => return Err(Obstacle::NoSuchSource),
        None => source(&router.spec, own).ok_or(Obstacle::NoSource)?,
    };
    Ok((link.clone(), source))
}

/// The interface's primary address, or its link-local one: a vip only if there is no other, as with an owner.
fn source<'a>(spec: &VirtualRouter, own: impl Iterator<Item = &'a Address> + Clone) -> Option<IpAddr> {
    let fits = |address: &&Address| {
        !address.ours
            && address.primary
            && match (spec.family, address.net.addr()) {
                (Family::V4, IpAddr::V4(_)) => true,
                (Family::V6, IpAddr::V6(address)) => address.is_unicast_link_local(),
                _ => false,
            }
    };
    let is_vip = |address: &&Address| spec.vips.iter().any(|vip| vip.addr() == address.net.addr());
    let own = own.filter(fits);
    own.clone().find(|address| !is_vip(address)).or_else(|| own.clone().next()).map(|address| address.net.addr())
}
