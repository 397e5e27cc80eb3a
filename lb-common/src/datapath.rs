//! The packet pipeline: pure code over packet bytes and table look-ups, the same in the kernel and on the host.
//!
//! ```text
//! frame -> parse -> classify (service?) -> judge -> select (ring, pin) -> rewrite -> one exit, one reason counted
//! ```

mod classify;
pub mod fence;
mod flow;
mod ipv4;
mod ipv6;
mod link;
pub mod probe;
pub mod rare;
mod select;
mod track;

use crate::abi::{
    AccessList, Bucket, FragmentOwner, PinSet, RealId, RealSlot, Room, ServiceId, ServiceKey, ServiceSlot, Settings,
    Signal, SynNote, SynTick, Tick, VipGuard,
};
use crate::reason::Reason;
use crate::wire::{Ethernet, Frame};
pub use classify::{admit, find_block};
use flow::{Flow, Part};
use ipv4::Ipv4Flow;
use ipv6::Ipv6Flow;
use link::{leave, look_behind_tags};
use select::{Chosen, select};
pub use track::{Stage, Tracked, track};

/// What the pipeline looks up and counts.
pub trait Tables {
    /// The settings; `None` only if the map is not there.
    fn settings(&self) -> Option<&Settings>;

    /// A slot of the service table, both halves counted through; `None` beyond its end.
    fn slot(&self, index: u32) -> Option<&ServiceSlot>;

    /// What [`find_block`] says. The kernel has that as a function of its own.
    fn find_block(&self, key: ServiceKey) -> Option<u32>;

    /// A bucket; `None` beyond the map's end.
    fn bucket(&self, index: u32) -> Option<Bucket>;

    /// What is known of a real server; `None` beyond the map's end.
    fn real(&self, id: RealId) -> Option<&RealSlot>;

    /// A set of pins; `None` beyond the map's end.
    fn pins(&self, set: u32) -> Option<&PinSet>;

    /// What [`track`] says. The kernel has that and the next as functions of their own.
    fn track(&mut self, tracked: Tracked) -> Bucket;

    /// [`PinSet::room`] in a set; none beyond the map's end.
    fn room(&self, set: u32, now: Tick, idle: u32) -> Room {
        self.pins(set).map_or(Room(0), |pins| pins.room(now, idle))
    }

    /// The time.
    fn now(&self) -> Tick;

    /// What the longest prefix that matches says, as an [`Admission`](crate::abi::Admission); `None` if none does.
    fn access(&self, list: AccessList, client: [u64; 2]) -> Option<u32>;

    /// What [`admit`] says. The kernel has that as a function of its own.
    fn admit(&self, list: AccessList, client: [u64; 2], slot: u32) -> Option<u32>
    where
        Self: Sized,
    {
        admit(list, client, slot, self)
    }

    /// Whether this vip is answered under a lease, and the lease has run out.
    fn is_fenced(&self, vip: [u64; 2]) -> bool;

    /// What is special about this vip; `None`: nothing, or it is none of ours.
    fn guard(&self, vip: [u64; 2]) -> Option<VipGuard>;

    /// What [`fence::is_closed`] says. The kernel has that as a function of its own.
    fn is_closed<P: Frame + ?Sized>(&self, frame: &mut P) -> bool
    where
        Self: Sized,
    {
        fence::is_closed(frame, self)
    }

    /// Where the first fragment of a packet went, by [`FlowHash::identity`](crate::hash::FlowHash::identity) of the packet.
    fn fragment_owner(&self, packet: u64) -> Option<FragmentOwner>;

    /// Remembers where the first fragment of a packet goes.
    fn remember_fragment(&mut self, packet: u64, owner: FragmentOwner);

    /// The own address, as loaded, of the real server whose answer to a probe by a vip this is, by the number that
    /// [`probe::Departure`] has for it.
    fn probed_real(&self, answer: u64) -> Option<[u64; 2]>;

    /// What [`probe::answer`] says and does. The kernel has that as a function of its own.
    fn take_answer<P: Frame + ?Sized>(&mut self, frame: &mut P) -> bool {
        probe::answer(frame, self)
    }

    /// A note of a SYN; `None` beyond the map's end.
    fn syn(&self, place: u32) -> Option<&SynNote>;

    /// The time, as SYNs have it.
    fn syn_clock(&self) -> SynTick;

    /// What [`rare::note_fragment`] does. The kernel has that and the next as functions of their own.
    fn note_fragment<P: Frame + ?Sized>(&mut self, frame: &mut P, service: ServiceId, real: RealId)
    where
        Self: Sized,
    {
        rare::note_fragment(frame, service, real, self);
    }

    /// What [`rare::note_syn`] does.
    fn note_syn(&mut self, syn: u64, real: RealId)
    where
        Self: Sized,
    {
        rare::note_syn(syn, real, self);
    }

    /// One more sign that a real server does not answer.
    fn count_signal(&mut self, real: RealId, signal: Signal);

    /// One more packet with this verdict.
    fn count_reason(&mut self, reason: Reason);

    /// One more packet of so many bytes from this service to this real server.
    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64);
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why, and so what.
    pub reason: Reason,
    /// The interface to transmit it by, by its place in the settings, if it is not the one that it came in by.
    pub interface: Option<u32>,
}

/// Takes one frame through the pipeline. If it is to be transmitted its Ethernet addresses, its tag where its real server is
/// in another VLAN, and its time to live are rewritten; if it answers a probe by a vip, its source. Else it is as it was.
#[inline(always)]
pub fn process<P: Frame + ?Sized, T: Tables>(frame: &mut P, tables: &mut T) -> Outcome {
    let length = frame.length() as u64;
    let outcome = match forward(frame, tables) {
        Ok(Sent { service, real, outcome }) => {
            tables.count_forwarded(service, real, length);
            outcome
        }
        Err(reason) => {
            let reason = probe::reason(reason, frame, tables);
            Outcome { reason: fence::reason(reason, frame, tables), interface: None }
        }
    };
    tables.count_reason(outcome.reason);
    outcome
}

struct Sent {
    service: ServiceId,
    real: RealId,
    outcome: Outcome,
}

#[inline(always)]
fn forward<P: Frame + ?Sized, T: Tables>(frame: &mut P, tables: &mut T) -> Result<Sent, Reason> {
    match look_behind_tags(frame).ok_or(Reason::NotBalanced)? {
        Ethernet::IPV4 => steer(&Ipv4Flow::parse(frame).ok_or(Reason::NotBalanced)?, frame, tables),
        Ethernet::IPV6 => match Ipv6Flow::parse(frame) {
            Some(flow) => steer(&flow, frame, tables),
            None => Err(fence::not_balanced(Ethernet::IPV6, frame, tables)),
        },
        other => Err(fence::not_balanced(other, frame, tables)),
    }
}

/// The same steps for both families. A packet is judged only once it is known to be for a service of ours.
#[inline(always)]
fn steer<F: Flow, P: Frame + ?Sized, T: Tables>(flow: &F, packet: &mut P, tables: &mut T) -> Result<Sent, Reason> {
    if let Part::Later(id) = flow.part() {
        return follow(flow, id, packet, tables);
    }
    let settings = tables.settings().ok_or(Reason::NotConfigured)?;
    let matched = classify::classify(flow, settings, tables)?;
    let own_mac = classify::addressed_to_us(packet, settings)?;
    classify::chosen_already(packet, matched.flags, settings)?;
    flow.judge(packet)?;
    let matched = classify::let_in(flow, matched, tables)?;
    let Chosen { real, bucket, flow_hash } = select(flow, packet, &matched, tables)?;
    if let Part::First(_) = flow.part() {
        tables.note_fragment(packet, matched.service, real);
    }
    rare::note_segment(flow, packet, flow_hash, real, tables);
    send(flow, packet, own_mac, matched.service, (real, bucket), tables)
}

/// A later fragment goes where the first one went.
#[inline(always)]
fn follow<F: Flow, P: Frame + ?Sized, T: Tables>(
    flow: &F,
    id: u32,
    packet: &mut P,
    tables: &T,
) -> Result<Sent, Reason> {
    let settings = tables.settings().ok_or(Reason::NotConfigured)?;
    let owner = tables.fragment_owner(flow.fragment_hash(id, &settings.flow_key).identity()).ok_or(Reason::Fragment)?;
    if !owner.is_fresh(tables.now()) {
        return Err(Reason::Fragment);
    }
    let (service, real) = owner.service().zip(owner.real()).ok_or(Reason::Fragment)?;
    let bucket = tables.real(real).and_then(|real| real.owner()).ok_or(Reason::Fragment)?;
    let own_mac = classify::addressed_to_us(packet, settings)?;
    flow.judge(packet)?;
    send(flow, packet, own_mac, service, (real, bucket), tables)
}

/// To the owner of the bucket, or to this machine if it is that.
#[inline(always)]
fn send<F: Flow, P: Frame + ?Sized, T: Tables>(
    flow: &F,
    packet: &mut P,
    own_mac: u64,
    service: ServiceId,
    (real, bucket): (RealId, Bucket),
    tables: &T,
) -> Result<Sent, Reason> {
    if bucket.is_local() {
        return Ok(Sent { service, real, outcome: Outcome { reason: Reason::Local, interface: None } });
    }
    let interface = leave(flow, packet, own_mac, real, bucket, tables)?;
    Ok(Sent { service, real, outcome: Outcome { reason: flow.sent_as(), interface } })
}

#[cfg(test)]
mod tests;
