//! MySQL and MariaDB: the greeting that the server sends by itself; or a login, and what the server says of its role.

mod relay;
mod replication;

use std::net::SocketAddr;
use std::pin::pin;

use futures_util::future::{Either, select};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, IoError, OptsBuilder, Value};
use tokio::io::AsyncReadExt;

use super::deadline::Deadline;
use super::{ProbeFailure, Target, tcp};
use crate::config::{Login, Mysql, MysqlRole, Way};
use relay::Relay;

/// The version of the protocol that all servers since MySQL 3.21 speak.
const PROTOCOL: u8 = 10;
/// The first byte of a packet that is an error.
const ERROR: u8 = 0xff;
/// The longest greeting. Real ones have about a hundred bytes, errors as many as their text.
const GREETING: usize = 4096;
/// The driver asks the server for these two if it is not told. Our answers are short.
const PACKET: usize = 1 << 20;
const IDLE_SECONDS: usize = 60;

pub async fn probe(mysql: &Mysql, target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    match &mysql.login {
        None => greet(target, deadline).await,
        Some(login) => match target.way {
            Way::Real => examine(mysql, login, target.address, deadline).await,
            Way::Vip { .. } => examine_by_relay(mysql, login, target, deadline).await,
        },
    }
}

/// Reads the first packet: three bytes of length, lowest first, one of sequence, then the content.
async fn greet(target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    const DOING: &str = "waiting for the greeting";
    let mut stream = tcp::connect(target, deadline).await?;
    let mut header = [0; 4];
    deadline.io(DOING, stream.read_exact(&mut header)).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if header[3] != 0 || !(1..=GREETING).contains(&length) {
        return Err(ProbeFailure::wrong(no_mysql(&header)));
    }
    let mut content = vec![0; length];
    deadline.io(DOING, stream.read_exact(&mut content)).await?;
    judge_greeting(&content)
}

fn no_mysql(start: &[u8]) -> String {
    format!("what greets with \"{}\" is no MySQL server", start.escape_ascii())
}

fn judge_greeting(content: &[u8]) -> Result<(), ProbeFailure> {
    match content {
        [PROTOCOL, rest @ ..] if rest.contains(&0) => Ok(()),
        [ERROR, low, high, text @ ..] => {
            // Some servers put "#" and five characters of SQL state before the text, some do not.
            let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
            Err(refusal(u16::from_le_bytes([*low, *high]), &String::from_utf8_lossy(text)))
        }
        [version @ 1..PROTOCOL, ..] => {
            Err(ProbeFailure::wrong(format!("the server speaks MySQL's protocol {version}, expected {PROTOCOL}")))
        }
        other => Err(ProbeFailure::wrong(no_mysql(&other[..other.len().min(16)]))),
    }
}

fn refusal(code: u16, text: &str) -> ProbeFailure {
    ProbeFailure::wrong(format!("MySQL error {code}: {text}"))
}

/// The driver opens its connections itself, and knows no mark.
async fn examine_by_relay(
    mysql: &Mysql,
    login: &Login,
    target: Target<'_>,
    deadline: Deadline,
) -> Result<(), ProbeFailure> {
    let relay = Relay::open(target, deadline).await?;
    let talk = examine(mysql, login, relay.address(), deadline);
    match select(pin!(talk), pin!(relay.run())).await {
        // What the driver has said last is on its way yet.
        Either::Left((outcome, relay)) => {
            if let Err(failure) = deadline.wait("leaving", relay).await {
                tracing::debug!(address = %target.address, %failure, "leaving a MySQL server");
            }
            outcome
        }
        Either::Right((_, talk)) => talk.await,
    }
}

async fn examine(mysql: &Mysql, login: &Login, target: SocketAddr, deadline: Deadline) -> Result<(), ProbeFailure> {
    let mut connection = deadline.wait("logging in", Conn::new(options(login, target))).await?.map_err(name)?;
    let outcome = deadline.wait("waiting for the answer to a query", ask(mysql, &mut connection)).await?;
    // With a word, or the server counts an aborted connection. How that ends is of no interest any more.
    let farewell = deadline.wait("leaving", connection.disconnect()).await;
    if let Ok(Err(error)) | Err(error) = farewell.map(|left| left.map_err(name)) {
        tracing::debug!(%target, %error, "leaving a MySQL server");
    }
    outcome
}

/// The address is a number, and the server's socket on this host is not what is checked.
fn options(login: &Login, target: SocketAddr) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(target.ip().to_string())
        .tcp_port(target.port())
        .user(Some(&login.user))
        .pass(login.password.as_ref().map(|password| password.reveal()))
        .prefer_socket(false)
        .max_allowed_packet(Some(PACKET))
        .wait_timeout(Some(IDLE_SECONDS))
        .stmt_cache_size(0)
}

fn name(error: Error) -> ProbeFailure {
    match error {
        Error::Server(error) => refusal(error.code, &error.message),
        Error::Io(IoError::Io(error)) => ProbeFailure::from_io("talking to MySQL", error),
        other => ProbeFailure::wrong(format!("talking to MySQL: {other}")),
    }
}

async fn ask(mysql: &Mysql, connection: &mut Conn) -> Result<(), ProbeFailure> {
    // Asked whatever the role: a server may let us in and yet answer no query.
    let read_only = connection.query_first("SELECT @@global.read_only").await.map_err(name)?;
    let role = role(read_only.unwrap_or(Value::NULL))?;
    if mysql.role != MysqlRole::Any && mysql.role != role {
        let read_only = if role == MysqlRole::Primary { "off" } else { "on" };
        return Err(ProbeFailure::wrong(format!("read_only is {read_only}, expected a {}", mysql.role)));
    }
    match mysql.max_lag {
        Some(max_lag) => replication::check(connection, mysql.role, max_lag).await,
        None => Ok(()),
    }
}

/// A number, or since MariaDB 12 a word.
fn role(read_only: Value) -> Result<MysqlRole, ProbeFailure> {
    match replication::text(&read_only).as_deref() {
        Some("0" | "OFF") => Ok(MysqlRole::Primary),
        Some(_) => Ok(MysqlRole::Replica),
        None => Err(ProbeFailure::wrong("the server does not say whether it is read_only")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_greeting_makes_it_panic(first in prop::sample::select(vec![0, 9, 10, 255]), rest in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = judge_greeting(&[vec![first], rest].concat());
        }
    }

    #[test]
    fn a_greeting_is_protocol_10_and_anything_else_is_named() {
        let rows: [(&[u8], Option<&str>); 6] = [
            (b"\x0a8.0.36\0rest", None),
            (b"\xff\x10\x04Too many connections", Some("MySQL error 1040: Too many connections")),
            (b"\xff\x69\x04#HY000Host 'a' is blocked", Some("MySQL error 1129: Host 'a' is blocked")),
            (b"\x093.20\0", Some("the server speaks MySQL's protocol 9, expected 10")),
            (b"\xff", Some("what greets with \"\\xff\" is no MySQL server")),
            (b"\x0aendless", Some("what greets with \"\\nendless\" is no MySQL server")),
        ];
        for (content, expected) in rows {
            let said = judge_greeting(content).err().map(|failure| failure.to_string());
            assert_eq!(said.as_deref(), expected);
        }
    }
}
