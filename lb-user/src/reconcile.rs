//! The one writer of maps.

use lb_common::abi::Settings;

use crate::config::Config;
use crate::dataplane::{Maps, WordMap};
use crate::state::{Desired, DesiredError, Directory, RingCache, Summary, View, plan, read_value};

/// Why the maps are not what they should be. What forwarded before forwards still.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The config does not fit. Nothing was written.
    #[error(transparent)]
    Desired(#[from] DesiredError),
}

/// Makes the maps what config and view say they should be.
#[derive(Debug, Default)]
pub struct Reconciler {
    cache: RingCache,
}

impl Reconciler {
    /// Writes what differs and says what that was.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub fn reconcile(&mut self, config: &Config, view: &View, maps: &mut impl Maps) -> Result<Summary, ReconcileError> {
        let directory = Directory::read(maps);
        let current: Settings = read_value(maps.words(WordMap::Settings), 0);
        let desired = Desired::new(config, view, &directory, &current, &mut self.cache)?;
        let plan = plan(&desired, &directory, maps);
        // All else is written in any case, and forwarding does not depend on what is counted.
        if let Err(error) = plan.apply(maps) {
            tracing::warn!(%error, "a counter could not be set to zero; it goes on from what another left in it");
        }
        Ok(plan.summary)
    }
}
