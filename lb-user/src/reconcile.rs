//! The one writer of maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::limits::MAX_INTERFACES;

use crate::config::Config;
use crate::dataplane::{AccessLists, Maps};
use crate::state::{
    Desired, DesiredError, Directory, Holds, Moment, RingCache, RingChanges, Step, Summary, Sweep, View, Wish, plan,
    sweep,
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

    /// Has each of these vips, and no others, answered under a lease.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub fn lease(&mut self, wanted: &BTreeMap<IpAddr, u32>, maps: &mut impl Maps) -> Result<(), ReconcileError> {
        let failed = |source| ReconcileError::Apply { what: "a lease of a vip".into(), source };
        let current = maps.leases().map_err(failed)?;
        for (vip, lease) in wanted.iter().filter(|(vip, lease)| current.get(vip) != Some(lease)) {
            maps.set_lease(*vip, Some(*lease)).map_err(failed)?;
        }
        for vip in current.keys().filter(|vip| !wanted.contains_key(vip)) {
            maps.set_lease(*vip, None).map_err(failed)?;
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
        plan.changed_rings.iter().for_each(|ring| self.changes.note(*ring, now.tick));
        self.tracks = tracks(&desired, config);
        match outcome {
            Ok(()) => {
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
