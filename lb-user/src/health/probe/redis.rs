//! Redis: PING, and its role if that matters.

use std::io;

use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::deadline::Deadline;
use super::{ProbeFailure, Target, tcp};
use crate::config::{Redis, RedisRole};

/// The longest line: an error's.
const LINE: usize = 4096;
/// The longest text: what INFO says.
const BULK: usize = 64 << 10;

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Text(String),
    Error(String),
}

pub async fn probe(redis: &Redis, target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    let mut stream = BufReader::new(tcp::connect(target, deadline).await?);
    if let Some(password) = &redis.password {
        let words = [Some("AUTH"), redis.user.as_deref(), Some(password.reveal())];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        deadline.wait("waiting for the answer to AUTH", ask(&mut stream, "AUTH", &words)).await??;
    }
    let pong = deadline.wait("waiting for the answer to PING", ask(&mut stream, "PING", &["PING"])).await??;
    if pong != "PONG" {
        return Err(ProbeFailure::wrong(format!("Redis answers PING with \"{pong}\"")));
    }
    let Some(role) = redis.role else { return Ok(()) };
    let words = ["INFO", "replication"];
    let info = deadline.wait("waiting for the answer to INFO", ask(&mut stream, "INFO", &words)).await??;
    judge(role, &info)
}

/// Sends a command and takes its answer. `name` is all that messages say of it: the rest may be a password.
async fn ask(stream: &mut BufReader<TcpStream>, name: &'static str, words: &[&str]) -> Result<String, ProbeFailure> {
    let failed = |error| ProbeFailure::from_io("talking to Redis", error);
    stream.write_all(&command(words)).await.map_err(failed)?;
    match reply(stream).await.map_err(failed)? {
        Reply::Text(text) => Ok(text),
        Reply::Error(error) => Err(ProbeFailure::wrong(format!("Redis answers {name} with: {error}"))),
    }
}

/// As RESP has it: an array of bulk strings.
fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

async fn reply(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Reply> {
    let line = tcp::read_line(stream, LINE).await?;
    let line = String::from_utf8_lossy(&line);
    let odd = || io::Error::other(format!("\"{}\" is no answer of Redis", line.escape_default()));
    match line.split_at_checked(1).ok_or_else(odd)? {
        ("+", text) => Ok(Reply::Text(text.into())),
        ("-", text) => Ok(Reply::Error(text.into())),
        ("$", length) => {
            let length = length.parse().ok().filter(|length| *length <= BULK).ok_or_else(odd)?;
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes).await?;
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Err(odd()),
    }
}

/// Reads the lines "key:value" of INFO.
fn judge(role: RedisRole, info: &str) -> Result<(), ProbeFailure> {
    let value = |key| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    let is = value("role").ok_or_else(|| ProbeFailure::wrong("Redis does not say its role in INFO replication"))?;
    match (role, is) {
        (RedisRole::Master, "master") => Ok(()),
        (RedisRole::Replica, "slave") => match value("master_link_status") {
            Some("up") => Ok(()),
            link => {
                let (link, master) = (link.unwrap_or("unknown"), value("master_host").unwrap_or("unknown"));
                Err(ProbeFailure::wrong(format!("it is a replica, but its link to the master {master} is {link}")))
            }
        },
        (wanted, is) => {
            // What INFO calls slave is written "replica" in the config.
            let is = if is == "slave" { "replica" } else { is };
            Err(ProbeFailure::wrong(format!("its role is {is}, expected {wanted}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        assert_eq!(command(&["AUTH", "pä"]), "*2\r\n$4\r\nAUTH\r\n$3\r\npä\r\n".as_bytes());
    }

    #[tokio::test]
    async fn a_reply_is_a_line_or_a_text_of_a_known_length() {
        let rows: [(&[u8], Result<Reply, &str>); 8] = [
            (b"+PONG\r\n", Ok(Reply::Text("PONG".into()))),
            (b"-LOADING wait\r\n", Ok(Reply::Error("LOADING wait".into()))),
            (b"$4\r\na\r\nb\r\n", Ok(Reply::Text("a\r\nb".into()))),
            (b"$4\r\na", Err("early eof")),
            (b"$-1\r\n", Err("\"$-1\" is no answer of Redis")),
            (b"$99999999999\r\n", Err("\"$99999999999\" is no answer of Redis")),
            (b"\xff\r\n", Err("\"\\u{fffd}\" is no answer of Redis")),
            (b"", Err("unexpected end of file")),
        ];
        for (mut bytes, expected) in rows {
            let said = reply(&mut bytes).await.map_err(|error| error.to_string());
            assert_eq!(said, expected.map_err(String::from));
        }
        let long = vec![b'x'; LINE + 9];
        let error = reply(&mut long.as_slice()).await.expect_err("it is too long");
        assert_eq!(error.to_string(), "a line of more than 4096 bytes");
    }

    #[test]
    fn a_role_is_judged_by_what_info_says() {
        let rows = [
            (RedisRole::Master, "role:master\r\n", None),
            (RedisRole::Replica, "# R\r\nrole:slave\r\nmaster_link_status:up\r\n", None),
            (RedisRole::Master, "role:slave\r\n", Some("its role is replica, expected master")),
            (RedisRole::Replica, "role:master\r\n", Some("its role is master, expected replica")),
            (
                RedisRole::Replica,
                "role:slave\r\nmaster_host:a\r\nmaster_link_status:down\r\n",
                Some("it is a replica, but its link to the master a is down"),
            ),
            (RedisRole::Master, "", Some("Redis does not say its role in INFO replication")),
        ];
        for (role, info, expected) in rows {
            let said = judge(role, info).err().map(|failure| failure.to_string());
            assert_eq!(said.as_deref(), expected, "{info}");
        }
    }
}
