//! The kernel's links and addresses, by a netlink socket of the thread's own: a take-over waits for nobody else.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use ipnet::IpNet;
use lb_common::abi::Mac;
use rtnetlink::constants::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use socket2::SockRef;

/// What marks an address as ours (IFA_PROTO, kernel 5.18): VRRP's own number.
pub const OURS: u8 = 112;

/// The kernel answers at once; nothing is to hang if it does not.
const PATIENCE: Duration = Duration::from_secs(1);
/// One message of a dump is at most this.
const BUFFER: usize = 1 << 16;
/// Where the kernel looks for a message's number.
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC, if it has one.
    pub mac: Option<Mac>,
    /// Whether it is up and has a carrier.
    pub up: bool,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// On which.
    pub interface: u32,
    /// With its prefix.
    pub net: IpNet,
    /// Whether it has our mark.
    pub ours: bool,
    /// Whether adverts can come from it: neither secondary, nor not yet checked for duplicates.
    pub primary: bool,
}

/// A request that has been put together before it is needed.
#[derive(Clone, Debug)]
pub struct Prepared(Vec<u8>);

/// Requests and their answers.
#[derive(Debug)]
pub struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    /// A socket for requests.
    ///
    /// # Errors
    /// If there is no netlink.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Has the kernel do it.
    ///
    /// # Errors
    /// Its refusal.
    pub fn execute(&mut self, request: &mut Prepared) -> io::Result<()> {
        self.send(&mut request.0)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let answer = parse(&self.buffer)?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            if let NetlinkPayload::Error(error) = answer.payload {
                return if error.code.is_none() { Ok(()) } else { Err(error.to_io()) };
            }
        }
    }

    /// All interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.extend(link(&message));
            }
        })?;
        Ok(links)
    }

    /// All addresses of all interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let mut addresses = Vec::new();
        self.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |message| {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                addresses.extend(address(&message));
            }
        })?;
        Ok(addresses)
    }

    fn dump(&mut self, request: RouteNetlinkMessage, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        self.send(&mut Prepared::new(request, NLM_F_DUMP).0)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let mut rest = self.buffer.as_slice();
            while !rest.is_empty() {
                let message = parse(rest)?;
                rest = rest.get(padded(message.header.length)..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Done(_) => return Ok(()),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, request: &mut [u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(sequence) = request.get_mut(SEQUENCE) {
            sequence.copy_from_slice(&self.sequence.to_ne_bytes());
        }
        self.socket.send_to(request, &SocketAddr::new(0, 0), 0).map(drop)
    }
}

/// Hears of changes.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Watch {
    /// Of links and addresses.
    ///
    /// # Errors
    /// If there is no netlink.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Whether anything has changed since the last call that `concerns` us, by an interface's index and, of a link, its name.
    /// What was lost because too much changed counts too.
    pub fn changed(&mut self, concerns: impl Fn(u32, Option<&str>) -> bool) -> bool {
        let mut changed = false;
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => changed |= news(&self.buffer, &concerns),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changed,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self` is, whose borrow this is.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

fn news(datagram: &[u8], concerns: &impl Fn(u32, Option<&str>) -> bool) -> bool {
    let mut rest = datagram;
    while let (false, Ok(message)) = (rest.is_empty(), parse(rest)) {
        rest = rest.get(padded(message.header.length)..).unwrap_or_default();
        let NetlinkPayload::InnerMessage(message) = message.payload else { continue };
        let ours = match message {
            RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
                concerns(message.header.index, None)
            }
            RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message) => {
                concerns(message.header.index, name(&message))
            }
            _ => false,
        };
        if ours {
            return true;
        }
    }
    false
}

impl Prepared {
    fn new(message: RouteNetlinkMessage, flags: u16) -> Self {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        Self(bytes)
    }

    /// Puts a vip on an interface: marked as ours, without the route to its network, never the source of this machine's
    /// own connections, and not looked for on the link first, where the former master may have it yet.
    pub fn add(interface: u32, net: IpNet) -> Self {
        let mut message = address_message(interface, net);
        // All are taken as they are: 32 bits, of which the header has the first 8.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OURS)));
        if net.addr().is_ipv6() {
            let mut lifetime = CacheInfo::default();
            (lifetime.ifa_preferred, lifetime.ifa_valid) = (0, u32::MAX);
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        Self::new(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a macvlan of this MAC.
    pub fn macvlan(parent: u32, name: &str, mac: Mac) -> Self {
        let mut message = LinkMessage::default();
        let mode = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)]);
        message.attributes.extend([
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.0.to_vec()),
            LinkAttribute::Link(parent),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]),
        ]);
        Self::new(RouteNetlinkMessage::NewLink(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Brings an interface up.
    pub fn up(interface: u32) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = interface;
        (message.header.flags, message.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
        Self::new(RouteNetlinkMessage::NewLink(message), NLM_F_ACK)
    }

    /// Takes an interface away.
    pub fn remove_link(interface: u32) -> Self {
        let mut message = LinkMessage::default();
        message.header.index = interface;
        Self::new(RouteNetlinkMessage::DelLink(message), NLM_F_ACK)
    }

    /// Takes it away.
    pub fn remove(interface: u32, net: IpNet) -> Self {
        Self::new(RouteNetlinkMessage::DelAddress(address_message(interface, net)), NLM_F_ACK)
    }
}

fn address_message(interface: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if net.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = net.prefix_len();
    message.header.index = interface;
    message.header.scope = match net.addr() {
        IpAddr::V6(address) if address.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    };
    message.attributes.extend([AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())]);
    message
}

fn parse(bytes: &[u8]) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Messages begin at multiples of four bytes. None is shorter than its header.
const fn padded(length: u32) -> usize {
    let length = if length < 16 { 16 } else { length };
    (length as usize).next_multiple_of(4)
}

fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn link(message: &LinkMessage) -> Option<Link> {
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    });
    let up = message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some(Link { name: name(message)?.to_owned(), index: message.header.index, mac, up })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut remote, mut flags, mut ours) = (None, None, AddressFlags::empty(), false);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == OURS,
            _ => {}
        }
    }
    let unfit = AddressFlags::Secondary | AddressFlags::Tentative | AddressFlags::Dadfailed;
    // On IPv6 the first flag means temporary.
    let net = IpNet::new(local.or(remote)?, message.header.prefix_len).ok()?;
    Some(Address { interface: message.header.index, net, ours, primary: !flags.intersects(unfit) })
}
