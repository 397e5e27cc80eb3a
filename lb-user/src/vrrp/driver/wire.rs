//! Adverts on IP sockets: all are received here, and those to unicast peers are sent here. Those to the group leave as whole
//! frames, see [`ether`](super::ether).

use std::ffi::c_int;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::super::announce::Family;
use super::super::packet::{Endpoints, Envelope, GROUP_V4, GROUP_V6, PROTOCOL, TTL};
use super::filter::{Instruction, NOTHING};

/// Internetwork control, as in frames to the group.
const CLASS: u32 = 0xc0;
/// For adverts that come while others are looked at.
const RECEIVE_BYTES: usize = 1 << 18;

/// Which adverts are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// Those that come in by the interface.
    Group,
    /// Those to addresses of this machine, by whatever interface they come: the way to a peer may be another one.
    Peers,
}

/// Hears adverts in one family.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    family: Family,
}

/// What was read.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A message and what was around it.
    Message(Envelope, &'a [u8]),
    /// Nothing that could be an advert.
    Noise,
    /// Nothing more.
    Nothing,
}

impl Listener {
    /// A member of the group, or bound to no interface.
    ///
    /// # Errors
    /// Without the right to raw sockets, or if the interface is gone.
    pub fn open(interface: u32, family: Family, cast: Cast) -> io::Result<Self> {
        let socket = raw_socket(family)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        match family {
            Family::V4 => socket.set_multicast_all_v4(false)?,
            Family::V6 => {
                socket.set_multicast_all_v6(false)?;
                nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6RecvPacketInfo, &true)?;
                socket.set_recv_hoplimit_v6(true)?;
            }
        }
        match (cast, family) {
            (Cast::Peers, _) => {}
            (Cast::Group, Family::V4) => {
                socket.bind_device_by_index_v4(NonZeroU32::new(interface))?;
                socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(interface))?;
            }
            (Cast::Group, Family::V6) => {
                socket.bind_device_by_index_v6(NonZeroU32::new(interface))?;
                socket.join_multicast_v6(&GROUP_V6, interface)?;
            }
        }
        Ok(Self { socket, family })
    }

    /// The next datagram.
    ///
    /// # Errors
    /// The socket's.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Heard<'a>> {
        let heard = match self.family {
            Family::V4 => self.receive_v4(buffer),
            Family::V6 => self.receive_v6(buffer),
        };
        match heard {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Heard::Nothing),
            // What was wrong with the interface; the next call tells more.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Heard::Noise),
            heard => heard,
        }
    }

    fn receive_v4<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Heard<'a>> {
        let length = nix::sys::socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?;
        let opened = Envelope::open_ipv4(buffer.get(..length).unwrap_or_default());
        Ok(opened.map_or(Heard::Noise, |(envelope, message)| Heard::Message(envelope, message)))
    }

    /// The header is not in the datagram, but beside it.
    fn receive_v6<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Heard<'a>> {
        let mut control = cmsg_space!(c_int, libc::in6_pktinfo);
        let (mut ttl, mut destination, source, length);
        {
            let mut parts = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<SockaddrIn6>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
            (ttl, destination) = (None, None);
            for item in read.cmsgs()? {
                match item {
                    ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).ok(),
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    }
                    _ => {}
                }
            }
            (source, length) = (read.address.map(|address| address.ip()), read.bytes);
        }
        let (Some(ttl), Some(source), Some(destination)) = (ttl, source, destination) else { return Ok(Heard::Noise) };
        let envelope = Envelope { endpoints: Endpoints::V6 { source, destination }, ttl };
        Ok(Heard::Message(envelope, buffer.get(..length).unwrap_or_default()))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends adverts to peers, from one address, by whatever interface they are reached.
#[derive(Debug)]
pub struct Speaker {
    socket: Socket,
    interface: u32,
}

impl Speaker {
    /// It hears nothing.
    ///
    /// # Errors
    /// Without the right to raw sockets, or if the address is not the machine's.
    pub fn open(interface: u32, source: IpAddr) -> io::Result<Self> {
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let socket = raw_socket(family)?;
        attach(&socket, &NOTHING)?;
        match family {
            Family::V4 => {
                socket.set_ttl_v4(TTL.into())?;
                socket.set_tos_v4(CLASS)?;
            }
            Family::V6 => {
                socket.set_unicast_hops_v6(TTL.into())?;
                socket.set_tclass_v6(CLASS)?;
            }
        }
        let speaker = Self { socket, interface };
        speaker.socket.bind(&speaker.scoped(source).into())?;
        Ok(speaker)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The socket's: the peer has no route, the interface is down.
    pub fn send(&self, message: &[u8], peer: IpAddr) -> io::Result<()> {
        self.socket.send_to(message, &self.scoped(peer).into()).map(drop)
    }

    fn scoped(&self, address: IpAddr) -> SocketAddr {
        match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                SocketAddrV6::new(address, 0, 0, self.interface).into()
            }
            address => (address, 0).into(),
        }
    }
}

fn raw_socket(family: Family) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(i32::from(PROTOCOL))))
}

/// Has the kernel hold back what a program does not let through.
pub(super) fn attach(socket: &Socket, program: &[Instruction]) -> io::Result<()> {
    let one = |&Instruction { code, yes, no, value }: &Instruction| SockFilter::new(code, yes, no, value);
    socket.attach_filter(&program.iter().map(one).collect::<Vec<_>>())
}
