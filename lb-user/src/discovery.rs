//! Finds real servers while the daemon runs: a task for each pool that asks for it. What is found goes into a channel; what is
//! made of it is the daemon's business.

mod dns;
mod file;
mod schedule;

use std::collections::HashMap;

use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use crate::config::{Config, Real, Source};

/// An answer, or why there is none.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The pool's name.
    pub pool: String,
    /// Where it was looked for.
    pub source: Source,
    /// At least one real server; or why not, in words.
    pub outcome: Result<Vec<Real>, String>,
}

/// All that is looked for. Dropping it ends that.
#[derive(Debug)]
pub struct Discoveries {
    findings: Sender<Finding>,
    running: HashMap<String, (Source, Running)>,
}

#[derive(Debug)]
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Discoveries {
    /// Nothing is looked for yet. A finding that does not fit in the channel waits.
    pub fn new(findings: Sender<Finding>) -> Self {
        Self { findings, running: HashMap::new() }
    }

    /// Looks for what the config asks for: what has another source than before is looked for anew. Call this within a
    /// runtime.
    pub fn apply(&mut self, config: &Config) {
        let wanted: HashMap<&String, &Source> =
            config.pools.iter().filter_map(|pool| Some((&pool.name, &pool.discovery.as_ref()?.source))).collect();
        self.running.retain(|pool, (source, _)| wanted.get(pool) == Some(&&*source));
        for (pool, source) in wanted {
            if !self.running.contains_key(pool) {
                let task = tokio::spawn(look(pool.clone(), source.clone(), self.findings.clone()));
                self.running.insert(pool.clone(), (source.clone(), Running(task.abort_handle())));
            }
        }
    }
}

/// Until it is aborted, or nobody listens any more.
async fn look(pool: String, source: Source, findings: Sender<Finding>) {
    let report = |outcome| {
        let finding = Finding { pool: pool.clone(), source: source.clone(), outcome };
        let findings = findings.clone();
        async move { findings.send(finding).await.is_ok() }
    };
    match &source {
        Source::Dns(dns) => dns::look(dns, report).await,
        Source::File(path) => file::look(path, report).await,
    }
}
