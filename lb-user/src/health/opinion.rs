//! A second opinion: what the other directors say of a real server before it is taken out.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

/// What another director says of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// Its own check is answered.
    Up,
    /// Its own check is not.
    Down,
    /// It does not check that one, or has not yet.
    Unknown,
}

/// What the other directors have said; those that said nothing in time are not in it.
pub type Opinions = Pin<Box<dyn Future<Output = Vec<Opinion>> + Send>>;

/// Whoever can ask the other directors.
pub trait SecondOpinion: fmt::Debug + Send + Sync {
    /// Asks all of them about a real server of a pool, and waits for their answers for at most `limit`.
    fn ask(&self, pool: &str, address: IpAddr, limit: Duration) -> Opinions;
}
