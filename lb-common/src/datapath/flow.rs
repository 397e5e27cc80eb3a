//! What the later stages need to know of a packet, whatever its family.

use crate::abi::ServiceKey;
use crate::hash::FlowKey;
use crate::reason::Reason;
use crate::wire::Cursor;

/// A parsed packet. Nothing in it is judged yet: it may be for anybody.
pub trait Flow {
    /// What its service is looked up by.
    fn service_key(&self) -> ServiceKey;

    /// Its keyed hash.
    fn hash(&self, key: &FlowKey) -> u32;

    /// What it is counted as when it is sent on.
    fn sent_as(&self) -> Reason;

    /// Whether it may be sent on, now that it is known to be ours.
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason>;

    /// Takes one from its time to live, which is at least two. `None` if the frame is too short, which parsing excluded.
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Option<()>;
}
