//! A UDP service: says its name to whoever asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Namespace, real_time};

/// Ends the service when it is dropped.
#[derive(Debug)]
pub struct Echo {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Answers every datagram to `address:port` in that machine with `name` and what was sent. Bound to the vip, so that
/// answers leave with the address that was asked. On a busy machine it goes first, if that is allowed: what it measures is others.
///
/// # Errors
/// If the port cannot be had.
pub fn echo(machine: &Namespace, address: impl Into<IpAddr>, port: u16, name: &str) -> Result<Echo> {
    let address = address.into();
    let socket = machine.enter(|| UdpSocket::bind((address, port)).context("cannot bind"))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let ended = Arc::new(AtomicBool::new(false));
    let (stop, name) = (Arc::clone(&ended), name.to_owned());
    let thread = std::thread::spawn(move || {
        real_time();
        let mut buffer = [0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let answer = [name.as_bytes(), b" ", &buffer[..length]].concat();
                socket.send_to(&answer, from).ok();
            }
        }
    });
    Ok(Echo { ended, thread: Some(thread) })
}

/// Sends a datagram from a socket of its own and waits for the answer; call this within the client's namespace.
///
/// # Errors
/// If none comes within two seconds.
pub fn ask(address: impl Into<IpAddr>, port: u16, text: &str) -> Result<String> {
    let address = address.into();
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    ask_from(any, address, port, text)
}

/// The same, from one of the client's addresses.
///
/// # Errors
/// If no answer comes within two seconds, or the client does not have the address.
pub fn ask_from(source: IpAddr, address: impl Into<IpAddr>, port: u16, text: &str) -> Result<String> {
    let socket = UdpSocket::bind((source, 0)).with_context(|| format!("cannot bind to {source}"))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect((address.into(), port))?;
    socket.send(text.as_bytes())?;
    let mut buffer = [0; 65_536];
    let length = socket.recv(&mut buffer).context("no answer")?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
