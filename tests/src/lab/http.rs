//! A client, as small as can be: HTTP/1.1 over one connection. Hundreds of curls would measure process starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Of the status line.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Opens it; call this within the client's [`Namespace`](super::Namespace).
    ///
    /// # Errors
    /// If nobody answers within two seconds.
    pub fn open(address: impl Into<IpAddr>, port: u16) -> Result<Self> {
        let stream =
            TcpStream::connect_timeout(&SocketAddr::new(address.into(), port), PATIENCE).context("cannot connect")?;
        Self::over(stream)
    }

    /// The same, from one of the client's addresses.
    ///
    /// # Errors
    /// If nobody answers within two seconds, or the client does not have the address.
    pub fn open_from(source: IpAddr, address: impl Into<IpAddr>, port: u16) -> Result<Self> {
        let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let stream = TcpStream::from(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
        let storage = |address, port| SockaddrStorage::from(SocketAddr::new(address, port));
        bind(stream.as_raw_fd(), &storage(source, 0)).with_context(|| format!("cannot bind to {source}"))?;
        // It is the limit of a connect too.
        setsockopt(&stream, sockopt::SendTimeout, &TimeVal::new(PATIENCE.as_secs().try_into()?, 0))?;
        connect(stream.as_raw_fd(), &storage(address.into(), port)).context("cannot connect")?;
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks for a path; the connection stays open.
    ///
    /// # Errors
    /// If the connection has broken, or the answer makes no sense.
    pub fn ask(&mut self, path: &str) -> Result<Response> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).context("cannot send")?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("the body is cut short")?;
        Ok(Response { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line).context("no answer")? > 0, "the connection was closed");
        Ok(line.trim_end().into())
    }
}

/// Asks for a path over a connection of its own.
///
/// # Errors
/// As [`Connection::open`] and [`Connection::ask`].
pub fn fetch(address: impl Into<IpAddr>, port: u16, path: &str) -> Result<Response> {
    Connection::open(address, port)?.ask(path)
}

/// The same, from one of the client's addresses.
///
/// # Errors
/// As [`Connection::open_from`] and [`Connection::ask`].
pub fn fetch_from(source: IpAddr, address: impl Into<IpAddr>, port: u16, path: &str) -> Result<Response> {
    Connection::open_from(source, address, port)?.ask(path)
}
