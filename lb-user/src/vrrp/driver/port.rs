//! One interface in one family: what all virtual routers there share.

use std::io;
use std::net::IpAddr;

use super::super::announce::Family;
use super::ether::Ether;
use super::filter::{advertised, advertisement, arp_claim, arp_claims};
use super::wire::{Cast, Listener};
use lb_common::abi::Mac;

/// Its sockets.
#[derive(Debug)]
pub struct Port {
    /// The interface's index.
    pub interface: u32,
    /// Of adverts and vips.
    pub family: Family,
    /// Which adverts come in here.
    pub cast: Cast,
    /// Where they do.
    pub listener: Listener,
    /// Adverts to the group and announcements go out here, and those of others come in.
    pub ether: Ether,
}

impl Port {
    /// Opens both.
    ///
    /// # Errors
    /// See [`Listener::open`] and [`Ether::open`].
    pub fn open(interface: u32, family: Family, cast: Cast) -> io::Result<Self> {
        let (listener, ether) = (Listener::open(interface, family, cast)?, Ether::open(interface, family)?);
        Ok(Self { interface, family, cast, listener, ether })
    }

    /// Makes these the addresses for which claims are heard.
    ///
    /// # Errors
    /// The kernel's, if there is no memory for the filter.
    pub fn listen_for(&self, vips: &[IpAddr]) -> io::Result<()> {
        let program = match self.family {
            Family::V4 => arp_claims(vips.iter().filter_map(|vip| match vip {
                IpAddr::V4(vip) => Some(*vip),
                IpAddr::V6(_) => None,
            })),
            Family::V6 => advertised(vips.iter().filter_map(|vip| match vip {
                IpAddr::V6(vip) => Some(*vip),
                IpAddr::V4(_) => None,
            })),
        };
        self.ether.listen_for(&program)
    }

    /// The next claim; `None`: no more for now.
    pub fn claim(&self, buffer: &mut [u8]) -> Option<(Mac, IpAddr)> {
        loop {
            // An interface that is down is heard of by netlink.
            let frame = self.ether.receive(buffer).ok()??;
            let claim = match self.family {
                Family::V4 => arp_claim(frame),
                Family::V6 => advertisement(frame),
            };
            if claim.is_some() {
                return claim;
            }
        }
    }
}
