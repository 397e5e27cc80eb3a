//! What the switch sees of a redundancy protocol: adverts, announcements, questions and answers for addresses, each with the
//! port that it came in by and the kernel's own time.

mod frame;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use lb_common::abi::Mac;
use nix::errno::Errno;
use nix::net::if_::if_nameindex;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use super::{CLIENT, INTERFACE, Lab, mac_of, real_time, send_frame};
use crate::packet::{arp_request, solicitation};

pub use frame::What;

/// Frames that wait in the socket: ten seconds of adverts each millisecond, with their overhead.
const ROOM: usize = 16 << 20;

/// How often the thread looks whether it should end.
const LOOK: TimeVal = TimeVal::new(0, 20_000);

/// A frame that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When the switch had it.
    pub at: Instant,
    /// By which port it came in: the name of a machine.
    pub port: String,
    /// The sender's MAC, of the frame.
    pub mac: Mac,
    /// What it says.
    pub what: What,
}

/// Watches a lab's switch on a thread of its own.
#[derive(Debug)]
pub struct Observer {
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Sighting>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Observer {
    /// Starts it. Ports that are added later are not known to it.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn start(lab: &Lab) -> Result<Self> {
        let (socket, ports) = lab.switch().enter(|| Ok((ear()?, ports()?)))?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, sink) = (Arc::clone(&ended), Arc::clone(&seen));
        let thread = std::thread::spawn(move || watch(&socket, &ports, &stop, &sink));
        Ok(Self { ended, seen, thread: Some(thread) })
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Sighting>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was seen from then on.
    pub fn since(&self, start: Instant) -> Vec<Sighting> {
        self.seen().iter().filter(|sighting| sighting.at >= start).cloned().collect()
    }

    /// The adverts of a machine from then on: when, and with which priority.
    pub fn adverts(&self, port: &str, start: Instant) -> Vec<(Instant, u8)> {
        let advert = |sighting: &Sighting| match sighting.what {
            What::Advert { priority, .. } if sighting.port == port => Some((sighting.at, priority)),
            _ => None,
        };
        self.seen().iter().filter(|sighting| sighting.at >= start).filter_map(advert).collect()
    }

    /// The announcements of a vip by a machine from then on.
    pub fn announcements(&self, port: &str, vip: IpAddr, start: Instant) -> Vec<Instant> {
        let says = |sighting: &Sighting| {
            sighting.port == port && matches!(sighting.what, What::Announcement { address, .. } if address == vip)
        };
        self.since(start).iter().filter(|sighting| says(sighting)).map(|sighting| sighting.at).collect()
    }

    /// Asks once for a vip, as a client would, and waits for so long: the MACs that answered, and the ports they answered by.
    ///
    /// # Errors
    /// If the question cannot be sent.
    pub fn who_has(&self, lab: &Lab, vip: IpAddr, wait: Duration) -> Result<BTreeSet<(Mac, String)>> {
        let question = match vip {
            IpAddr::V4(vip) => from_client(arp_request(vip)),
            IpAddr::V6(vip) => frame::finished(from_client(solicitation(vip)), mac_of(CLIENT)),
        };
        let asked = Instant::now();
        send_frame(&lab.client, INTERFACE, &question)?;
        // tidy: allow(sleep): how long one listens for a second answer is the question itself
        std::thread::sleep(wait);
        let answer = |sighting: Sighting| match sighting.what {
            What::Answer { address, mac } if address == vip => Some((mac, sighting.port)),
            _ => None,
        };
        Ok(self.since(asked).into_iter().filter_map(answer).collect())
    }
}

/// The question with the MAC of the lab's client in it; those of the fixtures have another.
fn from_client(mut frame: Vec<u8>) -> Vec<u8> {
    let (theirs, ours) = (crate::fixture::CLIENT.0, mac_of(CLIENT).0);
    for start in 6..=frame.len() - ours.len() {
        if frame[start..].starts_with(&theirs) {
            frame[start..start + ours.len()].copy_from_slice(&ours);
        }
    }
    frame
}

/// Hears all that comes in by any port, and only what the filter lets pass.
fn ear() -> Result<OwnedFd> {
    let every = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, every)?;
    setsockopt(&socket, sockopt::RcvBufForce, &ROOM)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &LOOK)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    frame::filter(&socket).context("cannot set the observer's filter")?;
    Ok(socket)
}

/// Ports by their number.
fn ports() -> Result<Vec<(i32, String)>> {
    let all = if_nameindex()?;
    let port = |interface: &nix::net::if_::Interface| {
        Ok((i32::try_from(interface.index())?, interface.name().to_string_lossy().into_owned()))
    };
    all.iter()
        .map(port)
        .filter(|port| !matches!(port, Ok((_, name)) if name.starts_with("br") || name == "lo"))
        .collect()
}

fn watch(socket: &OwnedFd, ports: &[(i32, String)], ended: &AtomicBool, seen: &Mutex<Vec<Sighting>>) {
    real_time();
    let mut buffer = [0; 2048];
    while !ended.load(Ordering::Relaxed) {
        let Ok((length, port, at)) = receive(socket, &mut buffer) else { continue };
        let port = ports.iter().find(|(index, _)| *index == port);
        if let (Some((_, port)), Some((mac, what))) = (port, frame::parse(&buffer[..length])) {
            let sighting = Sighting { at, port: port.clone(), mac, what };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(sighting);
        }
    }
}

/// One frame: its length, the number of its port and its time.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> std::io::Result<(usize, i32, Instant)> {
    // SAFETY: all of these are plain numbers, for which zero is a value.
    let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { std::mem::zeroed() };
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in `message` is to something that lives until the end of this function, with its length.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = Errno::result(length)?;
    // SAFETY: the kernel has filled `message` and what it points to.
    let stamp = unsafe { timestamp(&message) }.ok_or(ErrorKind::InvalidData)?;
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + stamp).unwrap_or_default();
    let now = Instant::now();
    Ok((length as usize, from.sll_ifindex, now.checked_sub(age).unwrap_or(now)))
}

/// When the kernel had the frame, since 1970.
///
/// # Safety
/// The message is one that the kernel has filled.
unsafe fn timestamp(message: &libc::msghdr) -> Option<Duration> {
    // SAFETY: as the caller says; a header that is there is followed by its data.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            return None;
        }
        let stamp = libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
        Some(Duration::new(u64::try_from(stamp.tv_sec).ok()?, u32::try_from(stamp.tv_nsec).ok()?))
    }
}
