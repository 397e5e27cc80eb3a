//! The pipeline's tables over maps in user space: the host's run of the datapath, which is its specification.

use std::sync::atomic::Ordering::Relaxed;

use lb_common::abi::{Bucket, RealId, ServiceId, ServiceSlot, Settings};
use lb_common::datapath::Tables;
use lb_common::reason::Reason;

use super::{Maps, Memory, WordMap};
use crate::state;

/// Tables as they were when this was made; what is counted goes to [`HostTables::counted`].
pub struct HostTables {
    settings: Settings,
    slots: Vec<ServiceSlot>,
    buckets: Vec<Bucket>,
    /// The maps in which the host's run counts.
    pub counted: Memory,
}
