//! What a health check asks, and what it takes for an answer: the types that `check = { … }` is parsed into.

mod keys;
mod kinds;
mod parse;
mod text;
mod tls;
mod via;

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub use kinds::rcode_name;
pub use parse::check;
pub use text::{Pattern, Secret, StatusCodes};
pub use tls::Tls;
pub use via::{ProbeMarks, Via, Way, same_family};

/// `check = { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// The port asked; resolved from the services that use the pool where the file has none. 0: there is none, as for
    /// [`CheckKind::Icmp`].
    pub port: u16,
    /// How it travels.
    pub via: Via,
    /// The vip that it goes by; without one, what a script is told: that of the pool's services, if they agree.
    pub vip: Option<IpAddr>,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// The same while a verdict is being changed (some, but not yet `rise` or `fall` results against it).
    pub fast_interval: Duration,
    /// How long an answer may take, from the first packet to the last.
    pub timeout: Duration,
    /// Successes in a row that make a real server that is down up; at least 1.
    pub rise: u32,
    /// Failures in a row that make a real server that is up down; at least 1.
    pub fall: u32,
    /// By how much intervals differ from one another.
    pub jitter: Jitter,
    /// Whether a real server that goes down often needs more successes to come back.
    pub damping: bool,
    /// Who agrees before a real server is taken out.
    pub confirm: Confirm,
}

/// `jitter`: an interval may be so much shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// By a part of it: 0 to 50 percent.
    Percent(u8),
    /// By this long, at most half of the interval.
    Time(Duration),
}

/// `confirm`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Nobody: our own verdict counts.
    Nobody,
    /// The other directors: it stays as long as one of them says that it is up.
    Peers,
}

/// `type = "…"` with the keys that it has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection can be opened.
    Tcp,
    /// An HTTP request is answered as expected; with [`Http::tls`] it is "https".
    Http(Box<Http>),
    /// A MySQL or MariaDB server greets, or lets us in and has a role.
    Mysql(Mysql),
    /// A Redis server answers PING.
    Redis(Redis),
    /// A name server answers a question.
    Dns(Dns),
    /// A datagram is answered.
    Udp(Udp),
    /// An echo request is answered.
    Icmp,
    /// A program says so.
    Script(Script),
    /// An agent beside the server says so: HAProxy's agent-check.
    Agent(Agent),
}

/// `type = "http"` and `type = "https"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `None`: in clear text.
    pub tls: Option<Tls>,
    /// What is requested of the path.
    pub method: Method,
    /// Path and query, from its `/` on; visible ASCII only.
    pub path: String,
    /// The header Host; `None`: the address, and the port if it is not the usual one.
    pub host: Option<String>,
    /// The statuses that are a success.
    pub status: StatusCodes,
    /// What the first 64 KiB of the body must match.
    pub body: Option<Pattern>,
}

/// `method`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: there is no body.
    Head,
}

/// `type = "mysql"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mysql {
    /// Without it only the server's greeting is read.
    pub login: Option<Login>,
    /// What the server must be; needs a login unless it is [`MysqlRole::Any`].
    pub role: MysqlRole,
    /// How far behind its source a replica may be; whole seconds, as the server says it.
    pub max_lag: Option<Duration>,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The account.
    pub user: String,
    /// May be missing: accounts for checks often have none.
    pub password: Option<Secret>,
}

/// `role` of a MySQL server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MysqlRole {
    /// `read_only` is off.
    Primary,
    /// `read_only` is on.
    Replica,
    /// Either.
    Any,
}

/// `type = "redis"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// An account of Redis 6 and later; without it the password is that of `requirepass`.
    pub user: Option<String>,
    /// Without it no AUTH is sent.
    pub password: Option<Secret>,
    /// What the server must be; `None`: anything.
    pub role: Option<RedisRole>,
}

/// `role` of a Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisRole {
    /// It takes writes.
    Master,
    /// It follows a master, and its link to it is up.
    Replica,
}

/// `type = "dns"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// What is asked for; absolute.
    pub name: hickory_proto::rr::Name,
    /// The record type.
    pub record: hickory_proto::rr::RecordType,
    /// The answer's code; with NOERROR there must be a record in it too.
    pub rcode: hickory_proto::op::ResponseCode,
}

/// `type = "udp"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// What is sent.
    pub payload: Vec<u8>,
    /// What the reply must match; `None`: any reply will do.
    pub expect: Option<Pattern>,
}

/// `type = "script"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// An absolute path.
    pub program: PathBuf,
    /// Its arguments; no shell looks at them.
    pub arguments: Vec<String>,
    /// Whom it runs as; `None`: as the daemon.
    pub user: Option<Account>,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As in the file.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group's.
    pub gid: u32,
}

/// `type = "agent"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// What is sent before the answer is read; may be empty.
    pub send: Vec<u8>,
}

impl Check {
    /// Of this kind, without a port, and everything else as a file has it that does not say.
    pub const fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            via: Via::Real,
            vip: None,
            port: 0,
            interval: INTERVAL,
            fast_interval: INTERVAL,
            timeout: TIMEOUT,
            rise: RISE,
            fall: FALL,
            jitter: Jitter::Percent(0),
            damping: true,
            confirm: Confirm::Nobody,
        }
    }

    /// One line for people, such as "http GET /health port 80".
    pub fn describe(&self) -> String {
        let kind = self.kind.describe();
        let port = if self.port == 0 { String::new() } else { format!(" port {}", self.port) };
        match self.via {
            Via::Real => format!("{kind}{port}"),
            Via::Vip(vip) => format!("{kind}{port} via {vip}"),
        }
    }
}

impl Jitter {
    /// By how much this interval may be shorter.
    pub fn of(self, interval: Duration) -> Duration {
        match self {
            Self::Percent(percent) => interval * u32::from(percent) / 100,
            Self::Time(time) => time.min(interval / 2),
        }
    }
}

impl CheckKind {
    /// The word of `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(http) if http.tls.is_some() => "https",
            Self::Http(_) => "http",
            Self::Mysql(_) => "mysql",
            Self::Redis(_) => "redis",
            Self::Dns(_) => "dns",
            Self::Udp(_) => "udp",
            Self::Icmp => "icmp",
            Self::Script(_) => "script",
            Self::Agent(_) => "agent",
        }
    }

    /// A few words for people, without secrets: "http GET /health", "mysql role primary".
    pub fn describe(&self) -> String {
        let name = self.name();
        match self {
            Self::Tcp | Self::Icmp | Self::Udp(_) | Self::Agent(_) => name.into(),
            Self::Http(http) => format!("{name} {} {}", http.method.name(), http.path),
            Self::Mysql(Mysql { login, role, max_lag }) => {
                let login = login.as_ref().map(|login| format!(" as {}", login.user)).unwrap_or_default();
                let role = if *role == MysqlRole::Any { String::new() } else { format!(" role {role}") };
                let lag = max_lag.map(|lag| format!(" lag at most {lag:?}")).unwrap_or_default();
                format!("{name}{login}{role}{lag}")
            }
            Self::Redis(redis) => {
                let role = redis.role.map(|role| format!(" role {role}")).unwrap_or_default();
                format!("{name}{role}")
            }
            Self::Dns(dns) => format!("{name} {} {}", dns.record, dns.name),
            Self::Script(script) => format!("{name} {}", script.program.display()),
        }
    }
}

impl Method {
    /// As it is written in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

impl fmt::Display for MysqlRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Any => "any",
        })
    }
}

impl fmt::Display for RedisRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Replica => "replica",
        })
    }
}

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// The default of `expect_status`.
const GOOD_STATUSES: RangeInclusive<u16> = 200..=399;

#[cfg(test)]
mod tests;
