//! One virtual router: its machine, where it is attached, and the frames that it sends.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use lb_common::abi::Mac;

use super::super::announce::{Family, Sender, gratuitous_arp, unsolicited_na};
use super::super::machine::{Machine, Settings, State, Vips};
use super::super::packet::Endpoints;
use super::super::priority::Effective;
use super::clock::Now;
use super::companions::Companions;
use super::held::Held;
use super::macvlan::Macvlan;
use super::port::Port;
use super::rtnl::Requests;
use super::wire::Speaker;
use super::{Fate, Leased, Obstacle, VrrpStatus, unspecified};
use crate::config::VirtualRouter;
use crate::dataplane::LeaseHandle;

/// Room for an advert of 255 addresses and what is around it.
const FRAME: usize = 14 + 40 + 8 + 255 * 16;

/// A virtual router.
#[derive(Debug)]
pub struct Router {
    /// As the file has it.
    pub spec: VirtualRouter,
    /// Its name, to be handed out.
    pub name: Arc<str>,
    /// What it thinks.
    pub machine: Machine,
    /// Until when its vips may be answered for.
    pub lease: LeaseHandle,
    /// What it can send by, if it can.
    pub attachment: Option<Attachment>,
    /// What the things that it depends on amount to.
    pub effective: Effective,
    /// Why it cannot work, by what was last told.
    pub obstacle: Option<Obstacle>,
    /// The same as far as its interface goes, by the last look at it.
    pub misplaced: Option<Obstacle>,
    /// The index of its interface, if that is there.
    pub link: Option<u32>,
    /// Whether its lease may be that of a predecessor, which is not to be ended before that is looked at.
    pub may_resume: bool,
    /// It is no longer in the plan, and goes when it has handed over.
    pub is_retiring: bool,
    /// Whether its adverts get out.
    pub is_heard: bool,
    /// When its state changed.
    pub since: Instant,
    /// Whether its vips are to be on the interface.
    holds: bool,
    vips: Vec<Held>,
    companions: Companions,
    announcements: Vec<Vec<u8>>,
    frame: Vec<u8>,
    packet_id: u16,
}

/// Where a router is attached.
#[derive(Debug)]
pub struct Attachment {
    /// The sockets of its interface.
    pub port: Rc<Port>,
    /// Where its adverts come from.
    pub source: IpAddr,
    /// The MAC of its interface.
    pub own_mac: Mac,
    /// The MAC of its vips, from which adverts and announcements come.
    pub mac: Mac,
    /// The index of the interface that has the vips.
    pub vip_interface: u32,
    /// That interface, if it is one for the virtual MAC.
    pub macvlan: Option<Macvlan>,
    /// To its peers, if it has some.
    pub speaker: Option<Speaker>,
}

impl Router {
    /// One that is attached nowhere, and has not begun.
    pub fn new(leased: Leased, now: Instant) -> Self {
        let Leased { router: spec, lease } = leased;
        let mut machine = Machine::new(settings(&spec, spec.priority, unspecified(spec.family)));
        machine.handle_fault(now);
        Self {
            name: spec.name.as_str().into(),
            machine,
            lease,
            attachment: None,
            effective: Effective::Priority(spec.priority),
            obstacle: Some(Obstacle::NoInterface),
            misplaced: Some(Obstacle::NoInterface),
            link: None,
            may_resume: false,
            is_retiring: false,
            is_heard: true,
            since: now,
            holds: false,
            vips: Vec::new(),
            companions: Companions::default(),
            announcements: Vec::new(),
            frame: Vec::with_capacity(FRAME),
            packet_id: 0,
            spec,
        }
    }

    /// Whether it is the same virtual router, perhaps otherwise configured.
    pub fn is(&self, other: &VirtualRouter) -> bool {
        let key = |spec: &VirtualRouter| (spec.vrid, spec.virtual_mac, matches!(spec.family, Family::V4));
        self.spec.interface == other.interface && key(&self.spec) == key(other)
    }

    /// Whether a change of an interface, by its index and, of a link, its name, or of an address on it, matters here.
    pub fn is_concerned_by(&self, index: u32, name: Option<&str>) -> bool {
        let is_vips = self.attachment.as_ref().is_some_and(|at| at.vip_interface == index);
        // Its source may come to any interface.
        self.link == Some(index) || is_vips || name == Some(&self.spec.interface) || self.spec.source.is_some()
    }

    /// All that its master answers for.
    pub fn all_vips(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.spec.all_vips()
    }

    /// Takes another configuration. What its master no longer answers for is released.
    pub fn configure(&mut self, spec: VirtualRouter, requests: &mut Requests, now: Instant) -> Vec<(IpNet, Fate)> {
        let source = self.attachment.as_ref().map_or(unspecified(spec.family), |attachment| attachment.source);
        // What is tracked goes on until something else is heard of it.
        let priority = if spec.priority == self.spec.priority { self.machine.priority() } else { spec.priority };
        self.spec = spec;
        self.name = self.spec.name.as_str().into();
        let fates = self.renew_vips(requests);
        self.prepare_announcements();
        self.machine.handle_settings(settings(&self.spec, priority, source), now);
        fates
    }

    /// Attaches it, or detaches it.
    pub fn attach(
        &mut self,
        attachment: Option<Attachment>,
        requests: &mut Requests,
        now: Instant,
    ) -> Vec<(IpNet, Fate)> {
        let former = std::mem::replace(&mut self.attachment, attachment);
        let fates = self.renew_vips(requests);
        self.remove_macvlan(former, requests);
        self.prepare_announcements();
        if let Some(attachment) = &self.attachment
            && attachment.source != self.machine.settings().source
        {
            self.machine.handle_settings(settings(&self.spec, self.machine.priority(), attachment.source), now);
        }
        fates
    }

    /// An interface for the virtual MAC that it no longer needs. If that fails, it has gone with the one that it was on.
    fn remove_macvlan(&self, former: Option<Attachment>, requests: &mut Requests) {
        if let Some(Attachment { vip_interface, macvlan: Some(macvlan), .. }) = former
            && self.attachment.as_ref().is_none_or(|now| now.vip_interface != vip_interface)
        {
            macvlan.remove(requests).ok();
        }
    }

    /// Takes away what is no longer a vip here, and adds what is new if all are held.
    fn renew_vips(&mut self, requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        let interface = self.attachment.as_ref().map(|attachment| attachment.vip_interface);
        let wanted: Vec<(u32, IpNet)> =
            interface.into_iter().flat_map(|interface| self.all_vips().map(move |net| (interface, net))).collect();
        let (mut kept, gone): (Vec<Held>, Vec<Held>) =
            self.vips.drain(..).partition(|held| wanted.iter().any(|(interface, net)| held.is(*interface, *net)));
        for (interface, net) in wanted {
            if !kept.iter().any(|held| held.is(interface, net)) {
                kept.push(Held::new(interface, net));
            }
        }
        self.vips = kept;
        let mut fates = self.companions.renew(&self.spec, interface, requests);
        fates.extend(each(gone, |held| held.release(requests)));
        if self.holds {
            let absent = self.vips.iter_mut().filter(|held| held.is_absent());
            fates.extend(each(absent, |held| held.take(requests)));
            fates.extend(self.companions.take(requests));
        }
        fates
    }

    fn prepare_announcements(&mut self) {
        let Some(mac) = self.attachment.as_ref().map(|attachment| attachment.mac) else {
            return self.announcements.clear();
        };
        let frame = |net: IpNet| {
            let mut frame = Vec::new();
            match net.addr() {
                IpAddr::V4(vip) => gratuitous_arp(mac, vip, &mut frame),
                IpAddr::V6(vip) => unsolicited_na(mac, vip, Sender::Router, &mut frame),
            }
            frame
        };
        self.announcements = self.all_vips().map(frame).collect();
    }

    /// Sends an advert.
    ///
    /// # Errors
    /// The socket's; if one of several peers cannot be reached, that is none.
    pub fn send(&mut self, priority: u8) -> io::Result<()> {
        let Some(attachment) = &self.attachment else { return Err(io::ErrorKind::NotConnected.into()) };
        let advert = self.machine.advert(priority);
        self.frame.clear();
        if let Some(speaker) = &attachment.speaker {
            let mut outcome = Err(io::ErrorKind::NotConnected.into());
            for peer in &self.spec.unicast_peers {
                self.frame.clear();
                let endpoints = endpoints(attachment.source, *peer).ok_or(io::ErrorKind::InvalidInput)?;
                advert.encode(&endpoints, &mut self.frame).map_err(io::Error::other)?;
                let sent = speaker.send(&self.frame, *peer);
                outcome = if outcome.is_ok() { outcome } else { sent };
            }
            return outcome;
        }
        let encoded = match attachment.source {
            IpAddr::V4(source) => {
                self.packet_id = self.packet_id.wrapping_add(1);
                advert.frame_v4(attachment.mac, source, self.packet_id, &mut self.frame)
            }
            IpAddr::V6(source) => advert.frame_v6(attachment.mac, source, &mut self.frame),
        };
        encoded.map_err(io::Error::other)?;
        attachment.port.ether.send(&self.frame)
    }

    /// Tells the neighbours, each vip so many times.
    ///
    /// # Errors
    /// The socket's.
    pub fn announce(&self, frames: u8) -> io::Result<()> {
        let Some(attachment) = &self.attachment else { return Ok(()) };
        let mut outcome = Ok(());
        for _ in 0..frames {
            for frame in &self.announcements {
                outcome = outcome.and(attachment.port.ether.send(frame));
            }
        }
        outcome
    }

    /// Puts the vips on the interface.
    pub fn take(&mut self, requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        self.holds = true;
        let mut fates = each(&mut self.vips, |held| held.take(requests));
        fates.extend(self.companions.take(requests));
        fates
    }

    /// Takes them away.
    pub fn release(&mut self, requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        self.holds = false;
        let mut fates = self.companions.release(requests);
        fates.extend(each(&mut self.vips, |held| held.release(requests)));
        fates
    }

    /// Puts those back that somebody has taken away, or that could not be put there before; and takes away what could not be
    /// taken away before.
    pub fn restore(&mut self, addresses: &[super::rtnl::Address], requests: &mut Requests) -> Vec<(IpNet, Fate)> {
        if !self.holds {
            return each(self.vips.iter_mut().filter(|held| held.is_ours()), |held| held.release(requests));
        }
        let missing = self.vips.iter_mut().filter(|held| !held.is_among(addresses));
        let mut fates = each(missing, |held| held.take(requests).and(Err(Fate::Restored)));
        if !fates.is_empty() {
            fates.extend(self.companions.restore(requests));
        }
        fates
    }

    /// Whether it holds this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.holds && self.all_vips().any(|net| net.addr() == address)
    }

    /// Whether what is tracked lets it work, and what priority that makes.
    pub fn apply_effective(&mut self, now: Instant) {
        if let Effective::Priority(priority) = self.effective {
            self.machine.handle_priority(priority, now);
        }
    }

    /// How it is.
    pub fn status(&self, now: Now) -> VrrpStatus {
        let state = self.machine.state();
        let source = self.machine.settings().source;
        VrrpStatus {
            name: Arc::clone(&self.name),
            interface: self.spec.interface.clone(),
            vrid: self.spec.vrid,
            family: self.spec.family,
            state,
            since: now.instant.saturating_duration_since(self.since),
            configured_priority: self.spec.priority,
            priority: self.machine.priority(),
            source,
            master: if state == State::Master { Some(source) } else { self.machine.master() },
            vips: self.all_vips().collect(),
            lease: now.until(self.lease.until()),
            obstacle: self.obstacle,
            counters: self.machine.counters().clone(),
        }
    }
}

fn each<T: std::borrow::BorrowMut<Held>>(
    vips: impl IntoIterator<Item = T>,
    mut act: impl FnMut(&mut Held) -> Result<(), Fate>,
) -> Vec<(IpNet, Fate)> {
    let fate = |mut held: T| {
        let held = held.borrow_mut();
        act(held).err().map(|fate| (held.net, fate))
    };
    vips.into_iter().filter_map(fate).collect()
}

fn endpoints(source: IpAddr, destination: IpAddr) -> Option<Endpoints> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Endpoints::V4 { source, destination }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Endpoints::V6 { source, destination }),
        _ => None,
    }
}

fn settings(spec: &VirtualRouter, priority: NonZeroU8, source: IpAddr) -> Settings {
    let of_family = spec.vips.iter().map(IpNet::addr);
    let vips = match spec.family {
        Family::V4 => Vips::V4(
            of_family
                .filter_map(|vip| match vip {
                    IpAddr::V4(vip) => Some(vip.octets()),
                    IpAddr::V6(_) => None,
                })
                .collect(),
        ),
        Family::V6 => Vips::V6(
            of_family
                .filter_map(|vip| match vip {
                    IpAddr::V6(vip) => Some(vip.octets()),
                    IpAddr::V4(_) => None,
                })
                .collect(),
        ),
    };
    Settings {
        vrid: spec.vrid,
        dialect: spec.dialect,
        checksum: spec.checksum,
        priority,
        source,
        vips,
        preemption: spec.preemption,
        announcements: spec.announcements.clone(),
    }
}
