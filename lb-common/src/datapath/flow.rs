//! What the later stages need to know of a packet, whatever its family.

use crate::abi::{FragmentKey, ServiceKey};
use crate::hash::FlowKey;
use crate::reason::Reason;
use crate::wire::Cursor;

/// Which part of a packet this is; the number is the packet's identification, as loaded.
#[derive(Clone, Copy)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment: it has the ports.
    First(u32),
    /// A later fragment: it has none, and belongs where the first one went.
    Later(u32),
}

/// A parsed packet. Nothing in it is judged yet: it may be for anybody.
pub trait Flow {
    /// What its service is looked up by; of no use for a later fragment.
    fn service_key(&self) -> ServiceKey;

    /// Its keyed hash.
    fn hash(&self, key: &FlowKey) -> u32;

    /// Which part of a packet it is.
    fn part(&self) -> Part;

    /// What the fragments of the packet with this identification are remembered by.
    fn fragment_key(&self, id: u32) -> FragmentKey;

    /// What it is counted as when it is sent on.
    fn sent_as(&self) -> Reason;

    /// Whether it may be sent on, now that it is known to be ours.
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason>;

    /// Takes one from its time to live, which is at least two. `None` if the frame is too short, which parsing excluded.
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Option<()>;
}
