//! The few frames that an observer looks at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Result;
use lb_common::abi::Mac;
use nix::errno::Errno;

const VRRP: u8 = 112;
const ICMP_V6: u8 = 58;

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An advert of VRRP.
    Advert {
        /// Whose, by its IP header.
        source: IpAddr,
        /// To whom.
        destination: IpAddr,
        /// 2 or 3.
        version: u8,
        /// Of the virtual router.
        vrid: u8,
        /// 0: the sender leaves.
        priority: u8,
    },
    /// Somebody says unasked whose an address is: a gratuitous ARP, or a neighbour advertisement that answers nobody.
    Announcement {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        mac: Mac,
    },
    /// The answer to a question.
    Answer {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        mac: Mac,
    },
    /// A question whose an address is.
    Question {
        /// The address.
        address: IpAddr,
    },
}

/// The sender and what a frame says; `None`: something else.
pub fn parse(frame: &[u8]) -> Option<(Mac, What)> {
    let sender = Mac(array(frame, 6)?);
    let what = match u16::from_be_bytes(array(frame, 12)?) {
        0x0806 => arp(frame)?,
        0x0800 if *frame.get(23)? == VRRP => {
            let (source, destination) = (Ipv4Addr::from(array(frame, 26)?), Ipv4Addr::from(array(frame, 30)?));
            let start = 14 + 4 * usize::from(frame.get(14)? & 0xf);
            advert(frame.get(start..)?, source.into(), destination.into())?
        }
        0x86dd => {
            let (source, destination) = (v6(frame, 22)?, v6(frame, 38)?);
            match *frame.get(20)? {
                VRRP => advert(frame.get(54..)?, source, destination)?,
                ICMP_V6 => neighbour(frame)?,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((sender, what))
}

fn advert(message: &[u8], source: IpAddr, destination: IpAddr) -> Option<What> {
    let [head, vrid, priority] = array(message, 0)?;
    Some(What::Advert { source, destination, version: head >> 4, vrid, priority })
}

fn arp(frame: &[u8]) -> Option<What> {
    let (operation, mac) = (u16::from_be_bytes(array(frame, 20)?), Mac(array(frame, 22)?));
    let (sender, target) = (Ipv4Addr::from(array(frame, 28)?), Ipv4Addr::from(array(frame, 38)?));
    Some(match operation {
        _ if sender == target => What::Announcement { address: sender.into(), mac },
        1 => What::Question { address: target.into() },
        2 => What::Answer { address: sender.into(), mac },
        _ => return None,
    })
}

fn neighbour(frame: &[u8]) -> Option<What> {
    const SOLICITED: u8 = 0x40;
    let (kind, flags, address) = (*frame.get(54)?, *frame.get(58)?, v6(frame, 62)?);
    match kind {
        135 => Some(What::Question { address }),
        136 => {
            // The option with the MAC is the first, if there is one; else it is whose frame it is.
            let has_option = frame.get(78..80) == Some(&[2, 1]);
            let mac = Mac(array(frame, if has_option { 80 } else { 6 })?);
            let is_answer = flags & SOLICITED != 0;
            Some(if is_answer { What::Answer { address, mac } } else { What::Announcement { address, mac } })
        }
        _ => None,
    }
}

fn v6(frame: &[u8], at: usize) -> Option<IpAddr> {
    Some(Ipv6Addr::from(array::<16>(frame, at)?).into())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// A solicitation without options, with what the kernel wants of one to a group: the option that says the asker's MAC
/// (RFC 4861, section 4.6.1), and a checksum (RFC 8200, section 8.1).
pub fn finished(mut frame: Vec<u8>, asker: Mac) -> Vec<u8> {
    frame.extend([1, 1]);
    frame.extend(asker.0);
    frame[19] += 8;
    let length = (frame.len() - 54) as u32;
    let pseudo = [&frame[22..54], &length.to_be_bytes(), &[0, 0, 0, ICMP_V6], &frame[54..]].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Lets pass what comes in (not what goes out) and is ARP, VRRP or ICMPv6.
pub fn filter(socket: &OwnedFd) -> Result<()> {
    let mut program = PROGRAM.map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let length = size_of::<libc::sock_fprog>() as u32;
    // SAFETY: the pointer is to a value of that length, which points to instructions that live as long; they are copied.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length,
        )
    };
    Errno::result(outcome)?;
    Ok(())
}

const BYTE: u16 = 0x30;
const HALF: u16 = 0x28;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the kernel shows a packet's type instead of a byte of it.
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const OUTGOING: u32 = 4;

/// (code, instructions to skip if true, if false, operand)
const PROGRAM: [(u16, u8, u8, u32); 13] = [
    (BYTE, 0, 0, PACKET_TYPE),
    (IF_EQUAL, 10, 0, OUTGOING),
    (HALF, 0, 0, 12),
    (IF_EQUAL, 7, 0, 0x0806),
    (IF_EQUAL, 0, 2, 0x0800),
    (BYTE, 0, 0, 23),
    (IF_EQUAL, 4, 5, VRRP as u32),
    (IF_EQUAL, 0, 4, 0x86dd),
    (BYTE, 0, 0, 20),
    (IF_EQUAL, 1, 0, VRRP as u32),
    (IF_EQUAL, 0, 1, ICMP_V6 as u32),
    (RETURN, 0, 0, 0xffff),
    (RETURN, 0, 0, 0),
];
