//! Clients that hold their connections while the vip moves.

use std::net::SocketAddr;

use anyhow::Result;

use super::Stage;
use crate::lab::{CLIENT, Count, Crowd, Mariadb, Sessions};

/// As many of the web servers as of the databases.
#[derive(Debug)]
pub struct Clients {
    web: Crowd,
    databases: Sessions,
}

impl Clients {
    /// None yet.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> Result<Self> {
        Ok(Self { web: Crowd::default(), databases: Sessions::new()? })
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.web.len() + self.databases.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connects until there are so many; half of them are of each kind. Says how many were opened with each real server.
    ///
    /// # Errors
    /// If one is not answered.
    pub fn fill(&mut self, stage: &Stage, all: usize) -> Result<Count> {
        let vip = stage.vip()?;
        let Self { web, databases } = self;
        stage.pair.lab.client.enter(|| {
            let half = (all / 2).saturating_sub(databases.len());
            let mut opened = databases.open(half, SocketAddr::new(vip, Mariadb::PORT))?;
            let rest = all.saturating_sub(databases.len() + web.len());
            for (name, count) in web.open(rest, &[CLIENT.into()], SocketAddr::new(vip, 80))? {
                *opened.entry(name).or_default() += count;
            }
            Ok(opened)
        })
    }

    /// Has everyone ask once more over his connection. How many of these have broken; they are closed.
    pub fn ask_all(&mut self) -> usize {
        self.web.ask_all().values().chain(self.databases.ask_all().values()).sum()
    }
}
