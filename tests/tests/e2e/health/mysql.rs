//! `mysql` against MariaDB.

use std::net::TcpStream;

use anyhow::Result;
use tests::lab::{Mariadb, eventually, real_address};

use super::{SOON, Ward, stub};

pub fn mysql(rest: &str) -> String {
    format!("type = \"mysql\", port = 3306{rest}")
}

/// With the account that may look at replication.
pub fn as_probe(rest: &str) -> String {
    mysql(&format!(", user = \"probe\", password = \"geheim\"{rest}"))
}

#[test]
fn a_database_server_greets_lets_in_and_has_a_role() -> Result<()> {
    let ward = Ward::new(1)?;
    let mariadb = Mariadb::start(&ward.lab, 1)?;
    ward.is_up(&mysql(""))?;
    ward.is_up(&mysql(", user = \"open\""))?;
    ward.is_up(&as_probe(""))?;
    ward.is_up(&as_probe(", role = \"primary\""))?;
    ward.is_up(&as_probe(", max_lag = \"1s\""))?;
    let over_ipv6 = ward.ask_at(tests::lab::in_v6(real_address(1)), &as_probe(""))?;
    anyhow::ensure!(over_ipv6.is_ok(), "{over_ipv6:?}");
    ward.is_down(&mysql(", user = \"open\", password = \"wrong\""), "MySQL error 1045: Access denied for user 'open'")?;
    ward.is_down(&as_probe(", role = \"replica\""), "read_only is off, expected a replica")?;
    mariadb.sql("SET GLOBAL read_only = 1")?;
    ward.is_up(&as_probe(", role = \"replica\""))?;
    ward.is_down(&as_probe(", role = \"primary\""), "read_only is on, expected a primary")?;
    ward.is_down(&as_probe(", role = \"replica\", max_lag = \"1s\""), "it is read-only, but follows no source")?;
    let may_not = "MySQL error 1227: Access denied; you need (at least one of) the SUPER, SLAVE MONITOR";
    ward.is_down(&mysql(", user = \"open\", role = \"replica\", max_lag = \"1s\""), may_not)?;
    ward.is_down("type = \"mysql\", port = 3307", "connection refused")?;
    ward.is_down("type = \"mysql\", port = 3307, user = \"open\"", "connection refused")
}

#[test]
fn a_database_server_that_is_full_is_down_and_says_so() -> Result<()> {
    let ward = Ward::new(1)?;
    let mariadb = Mariadb::start(&ward.lab, 1)?;
    mariadb.sql("SET GLOBAL max_connections = 10")?;
    let connect = || Ok(TcpStream::connect((real_address(1), 3306))?);
    let others: Vec<TcpStream> = ward.lab.director.enter(|| (0..12).map(|_| connect()).collect::<Result<Vec<_>>>())?;
    ward.goes_down(real_address(1), &mysql(""), "MySQL error 1040: Too many connections")?;
    ward.goes_down(real_address(1), &mysql(", user = \"open\""), "MySQL error 1040: Too many connections")?;
    drop(others);
    ward.comes_up(real_address(1), &mysql(""))
}

#[test]
fn probes_leave_no_aborted_connections_behind() -> Result<()> {
    let ward = Ward::new(1)?;
    let mariadb = Mariadb::start(&ward.lab, 1)?;
    for _ in 0..20 {
        ward.is_up(&as_probe(", role = \"primary\""))?;
    }
    let aborted = mariadb.sql("SHOW GLOBAL STATUS LIKE 'Aborted_%'")?;
    let total: u32 = aborted.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).sum();
    anyhow::ensure!(total == 0, "{aborted}");
    let left = || Ok((!mariadb.sql("SHOW PROCESSLIST")?.contains("probe")).then_some(()));
    eventually(SOON, "all probes have left", left)
}

#[test]
fn what_is_not_mysql_is_named() -> Result<()> {
    let ward = Ward::new(1)?;
    stub::with(&ward.lab.reals[0], 3306, b"220 mail ESMTP\r\n", || {
        ward.is_down(&mysql(""), "what greets with \"220 \" is no MySQL server")?;
        ward.is_down(&mysql(", user = \"a\", timeout = \"500ms\""), "no answer within 500ms, while logging in")
    })?;
    stub::with(&ward.lab.reals[0], 3306, b"", || {
        let silence = "no answer within 300ms, while waiting for the greeting";
        ward.is_down(&mysql(", timeout = \"300ms\""), silence)?;
        let silence = "no answer within 300ms, while logging in";
        ward.is_down(&mysql(", user = \"a\", timeout = \"300ms\""), silence)
    })
}
