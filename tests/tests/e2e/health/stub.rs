//! Servers that no real program can be made to be: they hang, or talk nonsense.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tests::lab::Namespace;

/// Runs `body` while a server in this machine says `words` to everybody at once and then holds the connection until the
/// peer goes.
pub fn with(machine: &Namespace, port: u16, words: &[u8], body: impl FnOnce() -> Result<()>) -> Result<()> {
    run(machine, port, |stream| talk(stream, words), body)
}

/// The same, but it says its words only when it has been asked something.
pub fn answering(machine: &Namespace, port: u16, words: &[u8], body: impl FnOnce() -> Result<()>) -> Result<()> {
    let answer = |stream: &mut TcpStream| {
        if matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            talk(stream, words);
        }
    };
    run(machine, port, answer, body)
}

fn run(
    machine: &Namespace,
    port: u16,
    talk: impl Fn(&mut TcpStream) + Send,
    body: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let listener = machine.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("cannot bind"))?;
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, talk));
        let outcome = body();
        // A connection from the machine itself is the sign to stop.
        let stopped = machine.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("cannot connect"));
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        stopped?;
        outcome
    })
}

fn serve(listener: &TcpListener, talk: impl Fn(&mut TcpStream)) -> Result<()> {
    loop {
        let (mut stream, peer) = listener.accept()?;
        if peer.ip().is_loopback() {
            return Ok(());
        }
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        talk(&mut stream);
    }
}

/// The peer may be gone already: that is its right.
fn talk(stream: &mut TcpStream, words: &[u8]) {
    if stream.write_all(words).is_ok() {
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
    }
}
