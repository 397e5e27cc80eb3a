//! One timeout over all that a probe does, and the name of what it was doing when time was up.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::ProbeFailure;

/// When a probe has to be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    /// How long all may take.
    pub const fn limit(self) -> Duration {
        self.limit
    }

    /// Waits, but not for too long. `doing` continues a sentence: "while connecting".
    pub async fn wait<T>(self, doing: &'static str, future: impl Future<Output = T>) -> Result<T, ProbeFailure> {
        timeout_at(self.at, future).await.map_err(|_| ProbeFailure::TimedOut { limit: self.limit, doing })
    }

    /// The same for what can fail.
    pub async fn io<T>(
        self,
        doing: &'static str,
        future: impl Future<Output = io::Result<T>>,
    ) -> Result<T, ProbeFailure> {
        self.wait(doing, future).await?.map_err(|error| ProbeFailure::from_io(doing, error))
    }
}
