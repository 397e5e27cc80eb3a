//! Whole frames on one interface: adverts to the group, announcements, and what others announce of our vips.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::MsgFlags;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::super::announce::Family;
use super::filter::{Instruction, NOTHING};
use super::wire::attach;

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A packet socket.
#[derive(Debug)]
pub struct Ether {
    socket: Socket,
    interface: u32,
}

impl Ether {
    /// Hears what is in ARP frames, or in IPv6 ones, as far as a filter lets it through: nothing as yet.
    ///
    /// # Errors
    /// Without the right to packet sockets, or if the interface is gone.
    pub fn open(interface: u32, family: Family) -> io::Result<Self> {
        // Of no protocol until there is a filter, so that nothing gets by it.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0)))?;
        attach(&socket, &NOTHING)?;
        let protocol = match family {
            Family::V4 => ARP,
            Family::V6 => IPV6,
        };
        socket.bind(&address(interface, protocol))?;
        Ok(Self { socket, interface })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The socket's: the interface is down, its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let ether_type = frame.get(12..14).and_then(|bytes| bytes.try_into().ok());
        let protocol = ether_type.map_or(IPV4, u16::from_be_bytes);
        self.socket.send_to(frame, &address(self.interface, protocol)).map(drop)
    }

    /// Lets through what this program lets through.
    ///
    /// # Errors
    /// The kernel's, if it does not take it.
    pub fn listen_for(&self, program: &[Instruction]) -> io::Result<()> {
        attach(&self.socket, program)
    }

    /// The next frame; `None`: no more.
    ///
    /// # Errors
    /// The socket's: the interface is down.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match nix::sys::socket::recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(buffer.get(..length)),
            Err(nix::Error::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Ether {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn address(interface: u32, protocol: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large enough and aligned for every kind of address, and all zeros is one of these.
    let link: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = protocol.to_be();
    // The kernel's indexes are positive numbers of 31 bits.
    link.sll_ifindex = interface as i32;
    // SAFETY: it holds an address of this kind, which is so long.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}
