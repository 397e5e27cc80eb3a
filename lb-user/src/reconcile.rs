//! The one writer of maps.

use lb_common::abi::Settings;

use crate::config::Config;
use crate::dataplane::{Maps, WordMap};
use crate::state::{Desired, DesiredError, Directory, RingCache, Summary, View, plan, read_value};

/// Why the maps are not, or not wholly, what they should be. What forwarded before forwards still.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The config does not fit. Nothing was written.
    #[error(transparent)]
    Desired(#[from] DesiredError),
    /// A counter could not be started anew; all else was written.
    #[error("a counter could not be set to zero")]
    Counter(#[source] std::io::Error),
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
    /// See [`ReconcileError`]. The next call repairs what this one could not do: the difference is taken from the maps.
    pub fn reconcile(&mut self, config: &Config, view: &View, maps: &mut impl Maps) -> Result<Summary, ReconcileError> {
        let directory = Directory::read(maps);
        let current: Settings = read_value(maps.words(WordMap::Settings), 0);
        let desired = Desired::new(config, view, &directory, &current, &mut self.cache)?;
        let plan = plan(&desired, &directory, maps);
        plan.apply(maps).map_err(ReconcileError::Counter)?;
        Ok(plan.summary)
    }
}
