//! Database clients that stay, and what becomes of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::Count;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Open MySQL sessions with one service, each with a variable of its own and the name of the real server that has it.
#[derive(Debug)]
pub struct Sessions {
    open: Vec<Session>,
    runtime: Runtime,
}

#[derive(Debug)]
struct Session {
    connection: Conn,
    variable: usize,
    name: String,
}

impl Sessions {
    /// None yet.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self> {
        Ok(Self { open: Vec::new(), runtime: Builder::new_current_thread().enable_all().build()? })
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens so many more. Call it within the client's namespace.
    ///
    /// # Errors
    /// If one is not opened, or its first question not answered.
    pub fn open(&mut self, count: usize, to: SocketAddr) -> Result<Count> {
        let mut opened = Count::new();
        for variable in 0..count {
            let session = self.runtime.block_on(Session::open(to, variable)).context("a database session")?;
            *opened.entry(session.name.clone()).or_default() += 1;
            self.open.push(session);
        }
        Ok(opened)
    }

    /// Has every session ask once more. Those that have broken, or lost their variable, are counted by who had them, and closed.
    pub fn ask_all(&mut self) -> Count {
        let mut broken = Count::new();
        let Self { open, runtime } = self;
        let _closing_needs_it = runtime.enter();
        open.retain_mut(|session| {
            let lives = runtime.block_on(session.ask()).is_ok_and(|name| name == session.name);
            if !lives {
                *broken.entry(session.name.clone()).or_default() += 1;
            }
            lives
        });
        broken
    }
}

impl Session {
    async fn open(to: SocketAddr, variable: usize) -> Result<Self> {
        let options = OptsBuilder::default()
            .ip_or_hostname(to.ip().to_string())
            .tcp_port(to.port())
            .user(Some("open"))
            .prefer_socket(false);
        let mut connection = timeout(PATIENCE, Conn::new(options)).await.context("no greeting")??;
        timeout(PATIENCE, connection.query_drop(format!("SET @own = {variable}"))).await.context("no answer")??;
        let mut session = Self { connection, variable, name: String::new() };
        session.name = session.ask().await?;
        Ok(session)
    }

    /// The real server's name.
    async fn ask(&mut self) -> Result<String> {
        let question = self.connection.query_first::<(u32, usize), _>("SELECT @@server_id, @own");
        let answer = timeout(PATIENCE, question).await.context("no answer")??;
        let (server, variable) = answer.context("an empty answer")?;
        ensure!(variable == self.variable, "it is another session");
        Ok(format!("real{server}"))
    }
}
