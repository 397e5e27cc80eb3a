//! Frame to flow: the few fields that matter, or the reason why there is no flow.

use crate::abi::{Protocol, ServiceKey};
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet, Ipv4, Ports};

/// A flow as loaded from the packet: addresses and ports in network order, on a little-endian machine.
pub struct Flow {
    pub source: u32,
    pub destination: u32,
    pub ports: Ports,
    pub protocol: Protocol,
}

impl Flow {
    #[inline(always)]
    pub fn service_key(&self) -> ServiceKey {
        ServiceKey::from_v4_words(self.destination, self.ports.destination(), self.protocol)
    }
}

/// Whole IPv4 TCP and UDP packets have a flow.
#[inline(always)]
pub fn parse<P: Cursor + ?Sized>(packet: &P) -> Result<Flow, Reason> {
    parse_v4(packet).ok_or(Reason::NotBalanced)?
}

/// `None`: too short, or no IPv4 TCP or UDP.
#[inline(always)]
fn parse_v4<P: Cursor + ?Sized>(packet: &P) -> Option<Result<Flow, Reason>> {
    if packet.load::<u16>(Ethernet::TYPE)? != Ethernet::IPV4 {
        return None;
    }
    let payload = Ipv4::payload(packet.load(Ipv4::VERSION_IHL)?)?;
    let protocol = Protocol::new(packet.load(Ipv4::PROTOCOL)?)?;
    if packet.load::<u16>(Ipv4::FRAGMENT)? & Ipv4::FRAGMENT_MASK != 0 {
        return Some(Err(Reason::Fragment));
    }
    Some(Ok(Flow {
        source: packet.load(Ipv4::SOURCE)?,
        destination: packet.load(Ipv4::DESTINATION)?,
        ports: Ports(packet.load(payload)?),
        protocol,
    }))
}
