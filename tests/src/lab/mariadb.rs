//! A real database server.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Lab, Process, output};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// MariaDB on port 3306 of a real server. Its accounts: `open` may log in without a password, `probe` (`geheim`) may look at
/// replication too, `copy` (`copy`) may replicate.
#[derive(Debug)]
pub struct Mariadb {
    socket: String,
    process: Process,
}

impl Mariadb {
    /// Its port.
    pub const PORT: u16 = 3306;

    /// Starts it on the real server with this number, from 1, which is its `server_id` too; waits until it is ready.
    ///
    /// # Errors
    /// If it does not start; quotes its log.
    pub fn start(lab: &Lab, real: u8) -> Result<Self> {
        let directory = lab.directory().join(format!("mariadb{real}"));
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let (data, socket) = (path("data"), path("socket"));
        std::fs::create_dir_all(&directory)?;
        let install = ["--no-defaults", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"];
        output(
            Command::new("mariadb-install-db")
                .args(install)
                .args([format!("--datadir={data}"), format!("--tmpdir={}", directory.display())]),
        )?;
        let arguments = [
            "--no-defaults".into(),
            "--user=root".into(),
            "--bind-address=*".into(),
            "--skip-name-resolve".into(),
            "--max-connections=1000".into(),
            "--innodb-flush-log-at-trx-commit=0".into(),
            "--innodb-buffer-pool-size=16M".into(),
            format!("--server-id={real}"),
            format!("--log-bin={}", path("log")),
            format!("--datadir={data}"),
            format!("--tmpdir={}", directory.display()),
            format!("--socket={socket}"),
            format!("--pid-file={}", path("pid")),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process =
            lab.spawn(&lab.reals[usize::from(real) - 1], &format!("mariadb{real}"), "mariadbd", &arguments)?;
        let mut mariadb = Self { socket, process };
        mariadb.process.wait_for("ready for connections", PATIENCE)?;
        mariadb.sql(
            "SET sql_log_bin = 0; CREATE USER probe@'%' IDENTIFIED BY 'geheim'; CREATE USER open@'%'; \
             GRANT SLAVE MONITOR ON *.* TO probe@'%'; CREATE USER copy@'%' IDENTIFIED BY 'copy'; \
             GRANT REPLICATION SLAVE ON *.* TO copy@'%'",
        )?;
        Ok(mariadb)
    }

    /// Has the server's root do this.
    ///
    /// # Errors
    /// What the server says against it, and its log.
    pub fn sql(&self, statements: &str) -> Result<String> {
        let socket = format!("--socket={}", self.socket);
        output(Command::new("mariadb").args(["--no-defaults", &socket, "--user=root", "-e", statements]))
            .with_context(|| self.process.log())
    }
}
