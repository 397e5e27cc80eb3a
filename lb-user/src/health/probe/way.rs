//! The one place where a probe's socket is told how its packets are to travel.
//!
//! By a vip means: the socket is connected to the real server's own address, so that route and neighbour are the real
//! server's, and carries a mark by which the kernel program on the way out knows that the destination is to be the vip.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Mark;

use super::Target;
use crate::config::Way;

impl Target<'_> {
    /// As a client would call the server that is asked: the name in a header, or in a certificate, if nothing else is said.
    pub fn known_as(&self) -> SocketAddr {
        match self.way {
            Way::Real => self.address,
            Way::Vip { vip, .. } => SocketAddr::new(vip, self.address.port()),
        }
    }
}

/// Makes a socket ready, and says where it is to be connected to. Marks need CAP_NET_ADMIN.
///
/// A real server that is this machine is asked at the vip straight away, which must be its own: there is no wire to be
/// anybody else's on.
pub fn lead(socket: &impl AsFd, target: Target<'_>) -> io::Result<SocketAddr> {
    let Way::Vip { vip, mark } = target.way else { return Ok(target.address) };
    if is_here(target.address.ip()) {
        if is_here(vip) {
            return Ok(SocketAddr::new(vip, target.address.port()));
        }
        return Err(io::Error::other(format!(
            "the real server is this machine, and the vip {vip} is none of its addresses"
        )));
    }
    setsockopt(socket, Mark, &mark.to_mark()).map_err(|errno| {
        io::Error::other(format!("cannot mark the probe for its vip (it takes CAP_NET_ADMIN): {errno}"))
    })?;
    Ok(target.address)
}

/// What a TCP socket is to be bound to first. The kernel gives connections to different servers the same port; by a vip they
/// all come from one address, and then the port is what tells them apart.
pub fn bind_to(target: Target<'_>) -> Option<SocketAddr> {
    match target.way {
        Way::Real => None,
        Way::Vip { .. } => Some(any(target.address)),
    }
}

/// Any address, any port.
pub fn any(address: SocketAddr) -> SocketAddr {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, 0)
}

/// Whether an address is this machine's own: only from itself, or from the loopback, does it reach itself. Nothing is sent.
fn is_here(address: IpAddr) -> bool {
    let there = SocketAddr::new(address, 9);
    let source = UdpSocket::bind(any(there)).and_then(|socket| {
        socket.connect(there)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address || source.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use lb_common::abi::ProbeMark;

    use super::*;

    #[test]
    fn only_an_address_of_this_machine_is_here() {
        assert!(is_here(Ipv4Addr::LOCALHOST.into()));
        assert!(is_here(Ipv4Addr::new(127, 3, 2, 1).into()), "the whole network is the loopback's");
        assert!(!is_here(Ipv4Addr::new(192, 0, 2, 1).into()));
    }

    #[test]
    fn a_real_server_that_is_this_machine_is_asked_at_the_vip() {
        let mark = ProbeMark::new(1).expect("it is in range");
        let here = SocketAddr::from(([127, 0, 0, 1], 80));
        let socket = UdpSocket::bind(any(here)).expect("there is a loopback");
        let lead = |vip: [u8; 4]| {
            let way = Way::Vip { vip: vip.into(), mark };
            lead(&socket, Target { way, ..Target::from(here) }).map_err(|error| error.to_string())
        };
        assert_eq!(lead([127, 0, 0, 9]), Ok(SocketAddr::from(([127, 0, 0, 9], 80))));
        let error = lead([192, 0, 2, 1]).expect_err("it is nobody's");
        assert!(error.ends_with("the vip 192.0.2.1 is none of its addresses"), "{error}");
    }
}
