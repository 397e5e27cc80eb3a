//! Thousands of open connections, and what becomes of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests under way at a time: as many answers wait in sockets.
const AT_ONCE: usize = 500;
/// An answer is some 200 bytes.
const BUFFER: usize = 512;

/// Open HTTP connections to one service, each with the name of the real server that has it.
#[derive(Debug, Default)]
pub struct Crowd {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    stream: BufReader<TcpStream>,
    name: String,
}

/// What became of connections: how many, by the name of the real server that had them.
pub type Count = BTreeMap<String, usize>;

impl Crowd {
    /// Lets this process have so many connections.
    ///
    /// # Errors
    /// The system's.
    pub fn make_room(connections: u64) -> Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let wanted = connections + 1024;
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).context("cannot raise the limit of open files")
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Opens so many more, from these addresses in turn; each asks once. Call it within the client's namespace.
    ///
    /// # Errors
    /// If one is not opened or answered.
    pub fn open(&mut self, count: usize, from: &[IpAddr], to: SocketAddr) -> Result<Count> {
        let start = self.members.len();
        for source in from.iter().cycle().take(count) {
            let stream = connect(*source, to)?;
            self.members.push(Member { stream: BufReader::with_capacity(BUFFER, stream), name: String::new() });
        }
        let mut opened = Count::new();
        for members in self.members[start..].chunks_mut(AT_ONCE) {
            members.iter_mut().try_for_each(Member::ask)?;
            for member in members {
                member.name = member.answer()?;
                *opened.entry(member.name.clone()).or_default() += 1;
            }
        }
        Ok(opened)
    }

    /// Has every connection ask once more. Those that have broken, or that another real server answers, are counted by who
    /// had them, and closed.
    pub fn ask_all(&mut self) -> Count {
        let mut broken = Count::new();
        let mut alive = Vec::with_capacity(self.members.len());
        let mut rest = std::mem::take(&mut self.members).into_iter().peekable();
        while rest.peek().is_some() {
            let asked: Vec<(Member, bool)> = rest
                .by_ref()
                .take(AT_ONCE)
                .map(|mut member| {
                    let went = member.ask().is_ok();
                    (member, went)
                })
                .collect();
            for (mut member, went) in asked {
                if went && member.answer().is_ok_and(|name| name == member.name) {
                    alive.push(member);
                } else {
                    *broken.entry(member.name).or_default() += 1;
                }
            }
        }
        self.members = alive;
        broken
    }

    /// How many each real server has.
    pub fn shares(&self) -> Count {
        let mut shares = Count::new();
        for member in &self.members {
            *shares.entry(member.name.clone()).or_default() += 1;
        }
        shares
    }
}

impl Member {
    fn ask(&mut self) -> Result<()> {
        Ok(self.stream.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?)
    }

    /// The body.
    fn answer(&mut self) -> Result<String> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "the connection was closed");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse()?,
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(String::from_utf8(body)?)
    }
}

fn connect(source: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE).with_context(|| format!("cannot connect from {source}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}
