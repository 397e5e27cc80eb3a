//! The program for what this machine sends itself, on the way out of our interfaces: it takes probes by a vip there.
//!
//! Attached only where some check goes by a vip. Kernels from 6.6 on have links for it (TCX), which are pinned and replaced
//! as XDP's are. Older ones have a filter of the `clsact` queueing discipline: it is at a place of its own, by priority and
//! handle, and what is pinned is the program, which says that the filter is ours. Filters of others, and the discipline
//! itself, are left alone: it does nothing without filters, and who else has come to use it nobody knows.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use aya::programs::links::{FdLink, Link, LinkError, LinkOrder, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use nix::net::if_::if_indextoname;

use super::kernel::{Kernel, LoadError};
use super::pins::{EGRESS, PinError};

/// The name of the program in the object.
pub(super) const PROGRAM: &str = "xdirector_egress";
/// The place of our filter: "xd".
const PRIORITY: u16 = 0x7864;
const HANDLE: TcHandle = TcHandle::new(0x7864, 1);

/// How a kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressWay {
    /// By a link, from 6.6 on.
    Link,
    /// As a filter of `clsact`.
    Filter,
}

/// Why probes cannot go by a vip.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The program cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel refused.
    #[error("cannot attach to what leaves {interface}, which checks with via = \"vip\" need")]
    Interface {
        /// Where.
        interface: String,
        /// What the kernel said.
        source: ProgramError,
    },
    /// It cannot be pinned.
    #[error("cannot pin what is attached to what leaves {interface}")]
    Pin {
        /// Where.
        interface: String,
        /// What the kernel said.
        source: aya::pin::PinError,
    },
    /// The pin directory cannot be put in order.
    #[error(transparent)]
    Pins(#[from] PinError),
}

impl Kernel {
    /// Runs the program on what leaves each interface (name, index), by the first of these ways that the kernel takes, and
    /// nowhere else. What a former daemon left is replaced without a packet noticing. No interfaces: it runs nowhere.
    ///
    /// # Errors
    /// See [`EgressError`]. An interface that fails does not keep the others from being attached.
    pub fn attach_egress(&mut self, interfaces: &[(String, u32)], ways: &[EgressWay]) -> Result<(), EgressError> {
        let Some(pins) = self.pins().cloned() else { return Ok(()) };
        let wanted: Vec<_> = interfaces.iter().map(|(_, index)| pins.egress_path(*index)).collect();
        pins.keep_egress(&wanted)?;
        if interfaces.is_empty() {
            return Ok(());
        }
        let program = self.egress()?;
        let mut outcome = Ok(());
        for ((interface, index), path) in interfaces.iter().zip(&wanted) {
            outcome = outcome.and(attach_one(program, path, interface, *index, ways));
        }
        outcome
    }
}

fn attach_one(
    program: &mut SchedClassifier,
    path: &Path,
    interface: &str,
    index: u32,
    ways: &[EgressWay],
) -> Result<(), EgressError> {
    let refused = |source| EgressError::Interface { interface: interface.into(), source };
    let unpinned = |source| EgressError::Pin { interface: interface.into(), source };
    match former(path) {
        Some(Former::Link(link)) => match program.attach_to_link(link).and_then(|id| program.take_link(id)) {
            // The pin holds the link from here on; what we have is one more reference to it.
            Ok(link) => {
                drop(link);
                return Ok(());
            }
            Err(error) => tracing::info!(%error, pin = %path.display(), "a former daemon's link is of no use any more"),
        },
        Some(Former::Filter) => match filter(interface).and_then(|filter| program.attach_to_link(filter)) {
            Ok(id) => return keep_filter(program, id, path).map_err(refused)?.map_err(unpinned),
            Err(error) => tracing::info!(%error, pin = %path.display(), "a former daemon's filter is gone"),
        },
        None => {}
    }
    let mut last = ProgramError::NotLoaded;
    for way in ways {
        let attached = match way {
            EgressWay::Link => attach_link(program, interface),
            EgressWay::Filter => attach_filter(program, interface),
        };
        match (attached, way) {
            (Ok(id), EgressWay::Link) => {
                let link = program.take_link(id).map_err(refused)?;
                let link = FdLink::try_from(link).map_err(|error| refused(no_link(error)))?;
                remove_stale(path);
                tracing::debug!(interface, index, "probes by a vip leave by a link");
                return link.pin(path).map(drop).map_err(unpinned);
            }
            (Ok(id), EgressWay::Filter) => {
                tracing::debug!(interface, index, "probes by a vip leave by a filter");
                return keep_filter(program, id, path).map_err(refused)?.map_err(unpinned);
            }
            (Err(error), _) => last = error,
        }
    }
    Err(refused(last))
}

fn no_link(error: LinkError) -> ProgramError {
    TcError::from(std::io::Error::other(error)).into()
}

fn attach_link(program: &mut SchedClassifier, interface: &str) -> Result<SchedClassifierLinkId, ProgramError> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    program.attach_with_options(interface, TcAttachType::Egress, options)
}

fn attach_filter(program: &mut SchedClassifier, interface: &str) -> Result<SchedClassifierLinkId, ProgramError> {
    // It may be there already, for others; if it cannot be had, neither can the filter, and that says so.
    if let Err(error) = qdisc_add_clsact(interface) {
        tracing::debug!(%error, interface, "no clsact was added");
    }
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    program.attach_with_options(interface, TcAttachType::Egress, TcAttachOptions::Netlink(options))
}

/// What a former daemon attached.
enum Former {
    Link(SchedClassifierLink),
    Filter,
}

fn former(path: &Path) -> Option<Former> {
    let pinned = PinnedLink::from_pin(path).ok()?;
    Some(SchedClassifierLink::try_from(FdLink::from(pinned)).map_or(Former::Filter, Former::Link))
}

fn filter(interface: &str) -> Result<SchedClassifierLink, ProgramError> {
    let filter = SchedClassifierLink::attached(interface, TcAttachType::Egress, PRIORITY, HANDLE, None);
    filter.map_err(|error| TcError::from(error).into())
}

type Pinned = Result<(), aya::pin::PinError>;

/// Leaves the filter where it is when the daemon goes, and notes that it is ours.
fn keep_filter(program: &mut SchedClassifier, id: SchedClassifierLinkId, path: &Path) -> Result<Pinned, ProgramError> {
    // Dropped, it would take the filter with it; there is nothing else in it.
    std::mem::forget(program.take_link(id)?);
    remove_stale(path);
    Ok(program.pin(path))
}

fn remove_stale(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::info!(%error, pin = %path.display(), "cannot remove a former daemon's pin");
    }
}

/// Takes away what is attached and pinned here. A link goes with its pin; a filter has to be told to.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    let index = path.file_name().and_then(|name| name.to_str()?.strip_prefix(EGRESS)?.parse::<u32>().ok());
    if let (Some(Former::Filter), Some(index)) = (former(path), index)
        && let Ok(interface) = if_indextoname(index)
        && let Err(error) = filter(&interface.to_string_lossy()).and_then(Link::detach)
    {
        tracing::info!(%error, pin = %path.display(), "a former daemon's filter is gone");
    }
    fs::remove_file(path)
}
