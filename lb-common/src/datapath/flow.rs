//! What the later stages need to know of a packet, whatever its family.

use crate::abi::ServiceKey;
use crate::hash::{FlowHash, FlowKey};
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
    fn hash(&self, key: &FlowKey) -> FlowHash;

    /// The client's address, as loaded; IPv4 in the first word.
    fn client(&self) -> [u64; 2];

    /// Whether it is a TCP segment that opens a connection; `None` over UDP, which has no such thing.
    fn opens<P: Cursor + ?Sized>(&self, packet: &P) -> Option<bool>;

    /// The flags of a client's own TCP segment, as [`TcpFlags`](crate::wire::TcpFlags) takes them.
    fn segment_flags<P: Cursor + ?Sized>(&self, packet: &P) -> Option<u16>;

    /// The sequence number of a client's own TCP segment, as loaded.
    fn sequence<P: Cursor + ?Sized>(&self, packet: &P) -> Option<u32>;

    /// Which part of a packet it is.
    fn part(&self) -> Part;

    /// A hash of what the fragments of the packet with this identification share.
    fn fragment_hash(&self, id: u32, key: &FlowKey) -> FlowHash;

    /// What it is counted as when it is sent on.
    fn sent_as(&self) -> Reason;

    /// Whether its lengths and checksum are right, now that it is known to be ours.
    fn judge<P: Cursor + ?Sized>(&self, packet: &P) -> Result<(), Reason>;

    /// Takes one from its time to live. An error if that may not be, or if the frame is too short, which parsing excluded.
    fn age<P: Cursor + ?Sized>(&self, packet: &mut P) -> Result<(), Reason>;
}
