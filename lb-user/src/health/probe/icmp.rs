//! ICMP: an echo request. Needs a raw socket (CAP_NET_RAW), or a group that may ping (sysctl ping_group_range).

use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, Ordering};

use lb_common::hash::mix;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::deadline::Deadline;
use super::{ProbeFailure, Target, way};

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
const LENGTH: usize = HEADER + 8;

/// What tells one echo from all others: a raw socket sees everybody's.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The types of RFC 792 and RFC 4443.
#[derive(Clone, Copy)]
struct Types {
    request: u8,
    reply: u8,
}

const V4: Types = Types { request: 8, reply: 0 };
const V6: Types = Types { request: 128, reply: 129 };

pub async fn probe(target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    let is_ipv4 = target.address.is_ipv4();
    let types = if is_ipv4 { V4 } else { V6 };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let request = echo(types, number);
    let failed = |error| ProbeFailure::from_io("opening an ICMP socket (it takes CAP_NET_RAW)", error);
    let (socket, is_raw) = open(target).map_err(failed)?;
    // SAFETY: the socket stays open until it is dropped, which `AsyncFd` does only after it has left the poller.
    let socket = unsafe { AsyncFd::register(socket) }.map_err(|error| failed(error.into()))?;
    let send = socket.async_io(Interest::WRITABLE, |socket| socket.send(&request));
    deadline.io("sending an echo request", send).await?;
    loop {
        let receive = socket.async_io(Interest::READABLE, receive);
        let packet = deadline.io("waiting for the echo", receive).await?;
        if is_reply(types, number, strip(&packet, is_ipv4 && is_raw), is_raw) {
            return Ok(());
        }
    }
}

/// A socket that hears of this peer only, and whether it is a raw one.
fn open(target: Target<'_>) -> io::Result<(Socket, bool)> {
    let (domain, protocol) = match target.address.is_ipv4() {
        true => (Domain::IPV4, Protocol::ICMPV4),
        false => (Domain::IPV6, Protocol::ICMPV6),
    };
    let (socket, is_raw) = match Socket::new(domain, Type::RAW, Some(protocol)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            (Socket::new(domain, Type::DGRAM, Some(protocol))?, false)
        }
        other => (other?, true),
    };
    socket.set_nonblocking(true)?;
    let mut address = way::lead(&socket, target)?;
    // What a raw socket would take for a protocol.
    address.set_port(0);
    socket.connect(&address.into())?;
    Ok((socket, is_raw))
}

fn receive(mut socket: &Socket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 256];
    let length = socket.read(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

/// The kernel sets the checksum of ICMPv6, and identifier and checksum of what a ping socket sends.
fn echo(types: Types, number: u32) -> [u8; LENGTH] {
    let [_, _, high, low] = number.to_be_bytes();
    let [id_high, id_low] = identifier().to_be_bytes();
    let mut packet = [0; LENGTH];
    packet[..HEADER].copy_from_slice(&[types.request, 0, 0, 0, id_high, id_low, high, low]);
    packet[HEADER..].copy_from_slice(&token(number));
    let sum: u32 = packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    // 8 words add up to less than 2^19, so two folds are enough.
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    let [high, low] = (!(folded & 0xffff) as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&[high, low]);
    packet
}

/// One for the process.
fn identifier() -> u16 {
    (std::process::id() & 0xffff) as u16
}

/// Sequence numbers come round; these do not, and differ between processes.
fn token(number: u32) -> [u8; 8] {
    mix(u64::from(std::process::id()) << 32 | u64::from(number)).to_be_bytes()
}

/// A raw IPv4 socket gives the IP header too.
fn strip(packet: &[u8], has_header: bool) -> &[u8] {
    let length = match packet.first() {
        Some(first) if has_header => usize::from(first & 15) * 4,
        _ => 0,
    };
    packet.get(length..).unwrap_or_default()
}

fn is_reply(types: Types, number: u32, packet: &[u8], is_raw: bool) -> bool {
    let sent = echo(types, number);
    let Some((header, payload)) = packet.split_at_checked(HEADER) else { return false };
    // A ping socket's identifier is its own, and it hears no other's.
    let ours = !is_raw || header[4..6] == sent[4..6];
    header[..2] == [types.reply, 0] && ours && header[6..] == sent[6..HEADER] && payload == &sent[HEADER..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_echo_of_the_request_is_its_reply() {
        let mut reply = echo(V4, 7);
        assert!(!is_reply(V4, 7, &reply, true), "a request is no reply");
        reply[0] = V4.reply;
        assert!(is_reply(V4, 7, &reply, true));
        assert!(!is_reply(V4, 8, &reply, true), "another number");
        assert!(!is_reply(V4, 7, &reply[..12], true), "cut short");
        for (at, what) in [(4, "identifier"), (7, "sequence"), (15, "payload")] {
            let mut other = reply;
            other[at] ^= 1;
            assert!(!is_reply(V4, 7, &other, true), "another {what}");
        }
    }

    #[test]
    fn the_checksum_makes_the_sum_all_ones() {
        let packet = echo(V4, 0xffff_ffff);
        let sum: u32 = packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
