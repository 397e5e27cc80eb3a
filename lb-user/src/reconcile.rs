//! The one writer of maps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering::Acquire;

use lb_common::abi::limits::MAX_INTERFACES;
use lb_common::abi::{Bucket, RingRange, VipGuard};

use crate::config::Config;
use crate::dataplane::{AccessLists, Maps, WordMap};
use crate::state::{
    Batch, Desired, DesiredError, Directory, Heard, Holds, Ledger, Moment, RingCache, RingChanges, Standing, Step,
    Summary, Sweep, View, Wish, batches, changes, from_the_start, listen, plan, ring_makings, ring_owners, sweep,
};

/// Why the maps are not what they should be. What forwarded before forwards still.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The config does not fit. Nothing was written.
    #[error(transparent)]
    Desired(#[from] DesiredError),
    /// The access lists cannot be read. Nothing was written.
    #[error("cannot read the access lists")]
    Access(#[source] std::io::Error),
    /// Something was not taken by the kernel. What packets see is whole, and partly what it was.
    #[error("the kernel does not take {what}")]
    Apply {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes the maps what config and view say they should be.
#[derive(Debug, Default)]
pub struct Reconciler {
    cache: RingCache,
    /// As they are in the maps; reading thousands of them takes longer than anything else.
    access: Option<AccessLists>,
    changes: RingChanges,
    /// Those that the map of interfaces has as this daemon wrote them; all 0 if that is not known.
    interfaces: [u64; MAX_INTERFACES],
    /// Whether packets look at pins for more than `tracking = "full"`, or something waits for its last flows.
    tracks: bool,
    /// What the maps say, until they are written again.
    known: Option<Known>,
    ledger: Ledger,
    /// Rings, by their first bucket, that are to be marked as a whole.
    whole: HashSet<u32>,
}

/// What the ids in the maps stand for, and what has been worked out of it.
#[derive(Debug)]
struct Known {
    directory: Directory,
    /// Who owns what in a ring, by its first bucket.
    owners: HashMap<u32, u64>,
}

impl Known {
    fn read(maps: &impl Maps) -> Self {
        Self { directory: Directory::read(maps), owners: HashMap::new() }
    }
}

impl Reconciler {
    /// What others have to be told since the last time.
    pub fn tell(&mut self, maps: &impl Maps, now: Moment) -> Vec<Batch> {
        let Known { directory, owners } = self.known.get_or_insert_with(|| Known::read(maps));
        let standing = Standing::new(maps, directory, &mut self.changes, now);
        let changed = changes(maps.words(WordMap::Pins), &mut self.ledger, &standing);
        batches(&changed, directory, &standing, |ring| owners_of(maps, directory, owners, ring))
    }

    /// What a director that knows nothing has to be told, from a place among the pins on: at most `most` of it; and where to
    /// go on, if there is more.
    pub fn tell_all(&mut self, maps: &impl Maps, now: Moment, from: usize, most: usize) -> (Vec<Batch>, Option<usize>) {
        let Known { directory, owners } = self.known.get_or_insert_with(|| Known::read(maps));
        let standing = Standing::new(maps, directory, &mut self.changes, now);
        let (pins, next) = from_the_start(maps.words(WordMap::Pins), &standing, from, most);
        (batches(&pins, directory, &standing, |ring| owners_of(maps, directory, owners, ring)), next)
    }

    /// Takes in what another director tells: writes it to the pins. Says too whether packets have yet to be made to look at
    /// them: then [`reconcile`](Self::reconcile) does that.
    pub fn hear(&mut self, maps: &impl Maps, batch: &Batch, now: Moment) -> (Heard, bool) {
        let Known { directory, owners } = self.known.get_or_insert_with(|| Known::read(maps));
        let heard =
            listen(maps, directory, &mut self.ledger, batch, now, |ring| owners_of(maps, directory, owners, ring));
        let rings = directory.rings().filter(|ring| heard.rings.contains(&ring.base));
        self.whole.extend(rings.filter(|ring| !is_marked(maps, *ring)).map(|ring| ring.base));
        (heard, !self.whole.is_empty())
    }

    /// Stands for what all rings are made of; see [`ring_makings`].
    pub fn ring_makings(&mut self, maps: &impl Maps) -> u64 {
        ring_makings(&self.known.get_or_insert_with(|| Known::read(maps)).directory)
    }
}

fn owners_of(maps: &impl Maps, directory: &Directory, known: &mut HashMap<u32, u64>, ring: RingRange) -> u64 {
    *known.entry(ring.base).or_insert_with(|| ring_owners(maps, directory, ring))
}

/// Whether packets of all buckets look at the pins.
fn is_marked(maps: &impl Maps, ring: RingRange) -> bool {
    let first = ring.base as usize;
    let words = maps.words(WordMap::Buckets).get(first..first + ring.size as usize).unwrap_or_default();
    words.iter().all(|word| Bucket::from_word(word.load(Acquire)).is_tracked())
}

impl Reconciler {
    /// Writes what differs and says what that was. Nothing is given up that a flow may still need.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub fn reconcile(
        &mut self,
        config: &Config,
        view: &View,
        maps: &mut impl Maps,
        now: Moment,
    ) -> Result<Summary, ReconcileError> {
        self.write(config, view, maps, &Holds::default(), now)
    }

    /// The same after a look at all pins, so that what no flow needs any more is given up.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub fn sweep(
        &mut self,
        config: &Config,
        view: &View,
        maps: &mut impl Maps,
        now: Moment,
    ) -> Result<(Summary, Sweep), ReconcileError> {
        let found = sweep(maps, &mut self.changes, now);
        let summary = self.write(config, view, maps, &found.holds, now)?;
        Ok((summary, found))
    }

    /// Has these vips, and no others, guarded.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub fn guard(&mut self, wanted: &BTreeMap<IpAddr, VipGuard>, maps: &mut impl Maps) -> Result<(), ReconcileError> {
        let failed = |source| ReconcileError::Apply { what: "a lease of a vip".into(), source };
        let current = maps.guards().map_err(failed)?;
        for (vip, guard) in wanted.iter().filter(|(vip, guard)| current.get(vip) != Some(guard)) {
            maps.set_guard(*vip, Some(*guard)).map_err(failed)?;
        }
        for vip in current.keys().filter(|vip| !wanted.contains_key(vip)) {
            maps.set_guard(*vip, None).map_err(failed)?;
        }
        Ok(())
    }

    /// Whether a sweep may find something to give up.
    pub const fn tracks(&self) -> bool {
        self.tracks
    }

    fn write(
        &mut self,
        config: &Config,
        view: &View,
        maps: &mut impl Maps,
        holds: &Holds,
        now: Moment,
    ) -> Result<Summary, ReconcileError> {
        let directory = Directory::read(maps);
        let holds = &Holds { whole: self.whole.clone(), ..holds.clone() };
        let access = match self.access.take() {
            Some(access) => access,
            None => maps.access_lists().map_err(ReconcileError::Access)?,
        };
        let wish = Wish { config, view, maps, directory: &directory, access: &access, holds, now };
        let desired = match Desired::new(&wish, &mut self.cache) {
            Ok(desired) => desired,
            Err(error) => {
                self.access = Some(access);
                return Err(error.into());
            }
        };
        let plan = plan(&desired, &directory, &access, &self.interfaces, maps);
        let outcome = plan.apply(maps);
        if !plan.steps.is_empty() {
            self.known = None;
        }
        plan.changed_rings.iter().for_each(|ring| self.changes.note(*ring, now.tick));
        self.tracks = tracks(&desired, config);
        match outcome {
            Ok(()) => {
                self.whole.clear();
                (self.access, self.interfaces) = (Some(desired.access), desired.settings.interfaces);
                Ok(plan.summary)
            }
            // What is there is looked at anew, and so tried again.
            Err(source) => {
                self.interfaces = [0; MAX_INTERFACES];
                let kinds = plan.steps.iter().filter(|step| !matches!(step, Step::Write { .. }));
                let what = kinds.map(Step::kind).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" or ");
                Err(ReconcileError::Apply { what, source })
            }
        }
    }
}

fn tracks(desired: &Desired, config: &Config) -> bool {
    let marks = desired.rings.iter().any(|(_, buckets)| buckets.iter().any(|bucket| bucket.is_tracked()));
    let reals: usize = config.pools.iter().map(|pool| pool.reals.len()).sum();
    marks || desired.reals.len() > reals || desired.services.iter().any(|(_, info)| info.old_ring != 0)
}
