//! A client, as small as can be: HTTP/1.1 over one connection. Hundreds of curls would measure process starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

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
