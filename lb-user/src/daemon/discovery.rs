//! What is made of what discoveries find.

use std::collections::HashMap;
use std::time::Duration;

use lb_common::abi::RealState;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::Daemon;
use super::status::age;
use crate::config::{Config, Discovery, Found, Pool, Real, Source, changes};
use crate::control::DiscoveryStatus;
use crate::dataplane::Maps;
use crate::discovery::{Discoveries, Finding};
use crate::saved::{Answer, Answers, DISCOVERED, Saved, StateDir};
use crate::state::{Directory, address};

/// How long a start waits for answers before it goes on with those of before.
const FIRST_ANSWERS: Duration = Duration::from_secs(1);
/// Findings between two turns of the loop; a discovery that finds no room waits.
const FINDINGS: usize = 64;

/// The file, and what was found.
pub(super) struct Discovered {
    pub findings: mpsc::Receiver<Finding>,
    discoveries: Discoveries,
    file: Config,
    found: Found,
    /// What was known before this start: on the disk, else in the tables of a former daemon.
    former: Found,
    pools: HashMap<String, State>,
}

/// How the discovery of one pool goes.
#[derive(Debug, Default)]
struct State {
    answered: Option<Instant>,
    trouble: Option<String>,
}

/// What was found for a file that is not in effect yet.
pub(super) struct Prepared {
    pub found: Found,
    states: HashMap<String, State>,
}

impl Prepared {
    fn note(&mut self, Finding { pool, source, outcome }: Finding, file: &Config) {
        let fits = |reals| fits(file, &pool, reals);
        let (answered, trouble) = match outcome.and_then(fits) {
            Ok(reals) => {
                self.found.insert(pool.clone(), reals);
                (Some(Instant::now()), None)
            }
            Err(why) => {
                warn!("pool {pool}: {}: {why}; its real servers of now stay", source.describe());
                (None, Some(why))
            }
        };
        self.states.insert(pool, State { answered, trouble });
    }
}

impl Discovered {
    /// Begins to look, and waits for the first answers, but not for long. Where there is none, that of before is taken: what
    /// is on the disk, else what a former daemon left in the tables.
    pub async fn start(file: Config, maps: &impl Maps) -> Self {
        let (sender, findings) = mpsc::channel(FINDINGS);
        let (discoveries, found) = (Discoveries::new(sender), Found::new());
        let mut discovered = Self { findings, discoveries, file, found, former: Found::new(), pools: HashMap::new() };
        if !discovered.file.pools.iter().any(|pool| pool.discovery.is_some()) {
            return discovered;
        }
        discovered.discoveries.apply(&discovered.file);
        discovered.wait().await;
        let answers: Answers = StateDir::new(&discovered.file.director.state_dir).load(DISCOVERED);
        let directory = Directory::read(maps);
        for pool in discovered.file.pools.clone() {
            discovered.fall_back(&pool, &answers, &directory);
        }
        discovered
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + FIRST_ANSWERS;
        let missing = |this: &Self| this.sources().any(|(pool, _)| !this.pools.contains_key(pool));
        while missing(self) {
            let Ok(Some(finding)) = timeout_at(deadline, self.findings.recv()).await else { return };
            let Some((pool, reals)) = self.handle_finding(finding) else { continue };
            match fits(&self.file, &pool, reals) {
                Ok(reals) => self.take(pool, reals),
                Err(why) => self.fail(&pool, why),
            }
        }
    }

    fn fall_back(&mut self, pool: &Pool, answers: &Answers, directory: &Directory) {
        let Some(Discovery { source, .. }) = &pool.discovery else { return };
        let (name, source) = (&pool.name, source.describe());
        let saved = answers.get(name).filter(|answer| answer.source == source).map(|answer| answer.reals.clone());
        let (reals, whence) = match saved.filter(|reals| !reals.is_empty()) {
            Some(reals) => (reals, "saved before this start"),
            None => (left_behind(directory, pool), "left in the tables by a former daemon"),
        };
        self.former.insert(name.clone(), reals.clone());
        if self.found.contains_key(name) {
            return;
        }
        if !reals.is_empty() {
            warn!("pool {name}: {source} gives no answer yet; going on with {} real servers, {whence}", reals.len());
            self.take(pool.name.clone(), reals);
        } else if pool.reals.is_empty() {
            let then = pool.on_empty.name();
            warn!(
                "pool {name} has no real servers: {source} gives no answer yet, and there is none of before; on_empty = \"{then}\" holds"
            );
        }
    }

    /// Goes on with what was known before this start. Says whether that is anything else.
    pub fn go_back_to_former(&mut self) -> bool {
        let former = std::mem::take(&mut self.former);
        let differs = !former.is_empty() && former != self.found;
        if differs {
            self.found = former;
        }
        differs
    }

    /// The config that is in effect with the file of now.
    pub fn effective(&self) -> Config {
        effective(&self.file, &self.found)
    }

    /// Begins to look for what another file asks for, and waits for the first answers of what is new in it, but not for long.
    /// Where none comes, the pool's real servers of now are taken for the last answer. Followed by [`Self::adopt`] or
    /// [`Self::go_back`].
    pub async fn prepare(&mut self, file: &Config, running: &Config) -> Prepared {
        let mut prepared = Prepared { found: self.found.clone(), states: HashMap::new() };
        prepared.found.retain(|pool, _| source_of(file, pool).is_some());
        let differs = |pool: &&Pool| {
            let source = source_of(file, &pool.name);
            source.is_some() && source != source_of(&self.file, &pool.name)
        };
        let mut missing: Vec<Pool> = file.pools.iter().filter(differs).cloned().collect();
        if missing.is_empty() {
            return prepared;
        }
        for pool in &missing {
            let now = running.pools.iter().find(|other| other.name == pool.name);
            let reals = now.map(|now| now.reals.clone()).filter(|reals| !reals.is_empty());
            prepared.found.extend(reals.map(|reals| (pool.name.clone(), reals)));
        }
        self.discoveries.apply(file);
        let deadline = Instant::now() + FIRST_ANSWERS;
        while !missing.is_empty() {
            let Ok(Some(finding)) = timeout_at(deadline, self.findings.recv()).await else { break };
            if source_of(file, &finding.pool) == Some(&finding.source) {
                missing.retain(|pool| pool.name != finding.pool);
                prepared.note(finding, file);
            }
        }
        for Pool { name, .. } in missing {
            warn!("pool {name}: its discovery gives no answer yet; its real servers of now stay");
        }
        prepared
    }

    /// Takes another file, which is in effect now, with what was found for it.
    pub fn adopt(&mut self, file: Config, Prepared { found, states }: Prepared) {
        self.pools.retain(|pool, _| source_of(&self.file, pool) == source_of(&file, pool));
        self.pools.extend(states);
        (self.file, self.found) = (file, found);
        self.discoveries.apply(&self.file);
    }

    /// Does not.
    pub fn go_back(&mut self) {
        self.discoveries.apply(&self.file);
    }

    fn sources(&self) -> impl Iterator<Item = (&String, &Source)> {
        self.file.pools.iter().filter_map(|pool| Some((&pool.name, &pool.discovery.as_ref()?.source)))
    }

    /// Notes how it went. What comes back is other than before, and may be taken.
    fn handle_finding(&mut self, finding: Finding) -> Option<(String, Vec<Real>)> {
        let Finding { pool, source, outcome } = finding;
        if source_of(&self.file, &pool) != Some(&source) {
            return None;
        }
        match outcome {
            Ok(reals) => {
                self.pools.insert(pool.clone(), State { answered: Some(Instant::now()), trouble: None });
                (self.found.get(&pool) != Some(&reals)).then_some((pool, reals))
            }
            Err(why) => {
                self.fail(&pool, why);
                None
            }
        }
    }

    /// Said once.
    fn fail(&mut self, pool: &str, why: String) {
        let source = source_of(&self.file, pool).map(Source::describe).unwrap_or_default();
        let state = self.pools.entry(pool.to_owned()).or_default();
        if state.trouble.as_ref() != Some(&why) {
            let kept = self.found.get(pool).map_or(0, Vec::len);
            warn!("pool {pool}: {source}: {why}; the {kept} real servers of the last answer stay");
        }
        state.trouble = Some(why);
    }

    fn take(&mut self, pool: String, reals: Vec<Real>) {
        self.found.insert(pool, reals);
    }

    fn answers(&self) -> Answers {
        let answer = |(pool, source): (&String, &Source)| {
            let reals = self.found.get(pool)?.clone();
            Some((pool.clone(), Answer { source: source.describe(), reals }))
        };
        self.sources().filter_map(answer).collect()
    }
}

/// An answer, if it does not contradict the file.
fn fits(file: &Config, pool: &str, reals: Vec<Real>) -> Result<Vec<Real>, String> {
    let only = Found::from([(pool.to_owned(), reals.clone())]);
    file.with_found(&only).map(|_| reals).map_err(|problem| format!("its answer is not taken: {problem}"))
}

/// A file's config with what was found. What contradicts the file is left out, and said.
pub(super) fn effective(file: &Config, found: &Found) -> Config {
    let mut fitting = Found::new();
    for (pool, reals) in found {
        fitting.insert(pool.clone(), reals.clone());
        if let Err(problem) = file.with_found(&fitting) {
            warn!("what was found is not taken: {problem}");
            fitting.remove(pool);
        }
    }
    file.with_found(&fitting).unwrap_or_else(|_| file.clone())
}

fn source_of<'a>(file: &'a Config, pool: &str) -> Option<&'a Source> {
    let pool = file.pools.iter().find(|other| other.name == pool)?;
    Some(&pool.discovery.as_ref()?.source)
}

/// The real servers that a former daemon had in this pool, but for the file's own and those that were on their way out.
fn left_behind(directory: &Directory, pool: &Pool) -> Vec<Real> {
    let name = lb_common::abi::Name::new(&pool.name);
    let stays = |state: u8| RealState::new(state).is_some_and(|state| state != RealState::Draining);
    let infos = directory.reals.values().filter(|info| info.pool == name && stays(info.state));
    let reals =
        infos.filter_map(|info| Some(Real::new(info.name.as_str(), address(info.address, info.family)?, info.weight)));
    reals.filter(|real| !pool.reals.iter().any(|own| own.address == real.address)).collect()
}

impl Daemon {
    /// Whether the maps have to be looked at.
    pub(super) async fn handle_finding(&mut self, finding: Finding) -> bool {
        let Some((pool, reals)) = self.discovered.handle_finding(finding) else { return false };
        let source = source_of(&self.discovered.file, &pool).map(Source::describe).unwrap_or_default();
        let outcome = match fits(&self.discovered.file, &pool, reals.clone()) {
            Ok(reals) => {
                let mut found = self.discovered.found.clone();
                found.insert(pool.clone(), reals);
                // What another pool's discovery said before does not matter to this one.
                let config = effective(&self.discovered.file, &found);
                let changes = changes(&self.config, &config);
                self.adopt(config)
                    .await
                    .map(|summary| (changes, summary))
                    .map_err(|error| format!("its answer is not taken: {error:#}"))
            }
            Err(why) => Err(why),
        };
        match outcome {
            Ok((changes, summary)) => {
                changes.iter().for_each(|change| info!("{source}: {change}"));
                info!("pool {pool}: {} real servers by {source}: {summary}", reals.len());
                self.discovered.take(pool, reals);
                self.save_answers();
            }
            Err(why) => self.discovered.fail(&pool, why),
        }
        true
    }

    /// Nobody waits for it; a failure is logged.
    pub(super) fn save_answers(&self) {
        if self.discovered.sources().next().is_none() {
            return;
        }
        let answers = self.discovered.answers();
        let saved = self.control.writer.save(DISCOVERED, answers.encode());
        tokio::spawn(async move {
            if let Err(error) = saved.await {
                warn!("what was found is not saved, so a restart cannot begin with it: {error}");
            }
        });
    }

    pub(super) fn discovery_status(&self, pool: &Pool) -> Option<DiscoveryStatus> {
        let source = source_of(&self.discovered.file, &pool.name)?.describe();
        let state = self.discovered.pools.get(&pool.name);
        Some(DiscoveryStatus {
            source,
            reals: self.discovered.found.get(&pool.name).map_or(0, Vec::len),
            answered_seconds: state.and_then(|state| state.answered).map(age),
            trouble: state.and_then(|state| state.trouble.clone()),
        })
    }
}
