//! Frames that no socket of the kernel would make.

use std::mem::size_of;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Namespace;

/// Sends a whole frame, from its Ethernet header on, out of an interface of a machine.
///
/// # Errors
/// If the kernel does not take it.
pub fn send_frame(machine: &Namespace, interface: &str, frame: &[u8]) -> Result<()> {
    machine.enter(|| {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        let index = if_nametoindex(interface).with_context(|| format!("there is no {interface}"))?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET.try_into()?,
            sll_protocol: 0,
            sll_ifindex: index.try_into()?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>().try_into()?;
        // SAFETY: both pointers are valid for the lengths that go with them, and are only read, during the call.
        let sent = unsafe {
            libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const address).cast(), length)
        };
        let sent = Errno::result(sent).context("cannot send a frame")?;
        ensure!(usize::try_from(sent) == Ok(frame.len()), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    })
}
