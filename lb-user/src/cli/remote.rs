//! What commands to a running daemon have in common.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::output::{print, warn};
use crate::config::{CONTROL_SOCKET, Config};
use crate::control::{Answer, Client, OrderReport, Request, Target};

/// Which daemon.
#[derive(Debug, Args)]
pub struct Socket {
    /// Where the daemon listens [default: /run/xdirector/control.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// Take director.control_socket from this config instead
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Socket {
    fn path(&self) -> Result<PathBuf> {
        match (&self.socket, &self.config) {
            (Some(path), _) => Ok(path.clone()),
            (None, Some(file)) => Ok(Config::load(file)?.config.director.control_socket),
            (None, None) => Ok(CONTROL_SOCKET.into()),
        }
    }

    /// A connection.
    pub fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.path()?)?)
    }

    /// Asks once; warnings go to stderr.
    pub fn ask(&self, request: &Request) -> Result<Answer> {
        ask(&mut self.connect()?, request)
    }
}

/// Asks; warnings go to stderr.
pub fn ask(client: &mut Client, request: &Request) -> Result<Answer> {
    let (answer, warnings) = client.ask(request)?;
    warnings.iter().for_each(|warning| warn(warning));
    Ok(answer)
}

/// POOL/REAL
#[derive(Clone, Debug)]
pub struct Real(pub Target);

impl std::str::FromStr for Real {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (pool, real) = text.split_once('/').context("write POOL/REAL, as in web/web1 or web/192.168.81.134")?;
        if pool.is_empty() || real.is_empty() {
            bail!("write POOL/REAL, as in web/web1 or web/192.168.81.134");
        }
        Ok(Self(Target { pool: pool.into(), real: real.into() }))
    }
}

/// Has an order given, and says what it is now.
pub fn order(socket: &Socket, request: &Request, json: bool) -> Result<OrderReport> {
    let report = match socket.ask(request)? {
        Answer::Order(report) => report,
        other => return unexpected(&other),
    };
    if json {
        print_json(&report)?;
    } else {
        print(&said(&report))?;
    }
    Ok(report)
}

fn said(report: &OrderReport) -> String {
    let OrderReport { pool, real, address: _, duty, file_weight, weight, changed } = report;
    let state = match duty.as_str() {
        "drain" => "keeps the flows that it has and takes no others",
        "maintenance" => "is in maintenance: it serves nobody",
        _ => "serves, as far as its check lets it",
    };
    let weight = match weight {
        Some(weight) => format!("; its weight is {weight} ({file_weight} in the file)"),
        None => String::new(),
    };
    let as_before = if *changed { "" } else { " (as before)" };
    format!("{pool}/{real} {state}{weight}{as_before}\n")
}

/// An answer to another question.
pub fn unexpected<T>(answer: &Answer) -> Result<T> {
    bail!("the daemon has answered something else: {answer:?}")
}

/// On one line.
pub fn print_json(report: &impl Serialize) -> Result<()> {
    print(&(serde_json::to_string(report)? + "\n"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_server_is_a_pool_and_a_name() {
        let parse = |text: &str| text.parse::<Real>().map(|Real(target)| (target.pool, target.real));
        assert_eq!(parse("web/db1").expect("it is one"), ("web".into(), "db1".into()));
        assert_eq!(parse("web/fd00::1").expect("it is one"), ("web".into(), "fd00::1".into()));
        assert_eq!(parse("web/a/b").expect("it is one"), ("web".into(), "a/b".into()));
        for bad in ["", "web", "/db1", "web/"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_in_effect_is_said_in_words() {
        let report = |duty: &str, weight, changed| OrderReport {
            pool: "web".into(),
            real: "db1".into(),
            address: "10.0.0.1".into(),
            duty: duty.into(),
            file_weight: 3,
            weight,
            changed,
        };
        assert_eq!(said(&report("drain", None, true)), "web/db1 keeps the flows that it has and takes no others\n");
        assert_eq!(
            said(&report("maintenance", None, false)),
            "web/db1 is in maintenance: it serves nobody (as before)\n"
        );
        assert_eq!(
            said(&report("serve", Some(0), true)),
            "web/db1 serves, as far as its check lets it; its weight is 0 (3 in the file)\n"
        );
    }
}
