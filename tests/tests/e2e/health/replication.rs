//! `mysql` against a replica of MariaDB.

use anyhow::Result;
use tests::lab::{Mariadb, real_address};

use super::Ward;
use super::mysql::as_probe;

#[test]
fn a_replica_is_down_while_it_does_not_follow_or_is_far_behind() -> Result<()> {
    let ward = Ward::new(2)?;
    let primary = Mariadb::start(&ward.lab, 1)?;
    let replica = Mariadb::start(&ward.lab, 2)?;
    let address = real_address(2);
    let check = as_probe(", role = \"replica\", max_lag = \"2s\"");
    replica.sql(&format!(
        "SET GLOBAL read_only = 1; CHANGE MASTER TO MASTER_HOST='{}', MASTER_USER='copy', MASTER_PASSWORD='copy', \
         MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE",
        real_address(1)
    ))?;
    ward.comes_up(address, &check)?;
    replica.sql("STOP SLAVE IO_THREAD")?;
    ward.goes_down(address, &check, "replication does not run (IO thread: No)")?;
    replica.sql("START SLAVE; STOP SLAVE SQL_THREAD")?;
    ward.goes_down(address, &check, "replication does not run (SQL thread: No)")?;
    replica.sql("START SLAVE")?;
    ward.comes_up(address, &check)?;
    // From now on it follows an hour later.
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=3600; START SLAVE")?;
    primary.sql("CREATE DATABASE late")?;
    ward.goes_down(address, &check, "s behind its source, at most 2s are allowed")?;
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0; START SLAVE")?;
    ward.comes_up(address, &check)?;
    // The primary refuses: the reason is the server's own.
    primary.sql("SET sql_log_bin = 0; ALTER USER copy@'%' IDENTIFIED BY 'other'")?;
    replica.sql("STOP SLAVE; START SLAVE")?;
    ward.goes_down(address, &check, "replication does not run (IO thread: Connecting): error connecting to master")
}
