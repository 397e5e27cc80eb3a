//! The packet pipeline: pure code over packet bytes and table look-ups, the same in the kernel and on the host.
//!
//! ```text
//! frame -> parse -> classify (service?) -> judge -> select (ring) -> rewrite -> one exit, one reason counted
//! ```

mod classify;
mod flow;
mod ipv4;
mod ipv6;
mod rewrite;
mod select;

use crate::abi::{Bucket, FragmentKey, FragmentOwner, RealId, ServiceId, ServiceSlot, Settings};
use crate::reason::Reason;
use crate::wire::{Cursor, Ethernet};
use flow::{Flow, Part};
use ipv4::Ipv4Flow;
use ipv6::Ipv6Flow;

/// What the pipeline looks up and counts.
pub trait Tables {
    /// The settings; `None` only if the map is not there.
    fn settings(&self) -> Option<&Settings>;

    /// A slot of the service table, both halves counted through; `None` beyond its end.
    fn slot(&self, index: u32) -> Option<&ServiceSlot>;

    /// A bucket; `None` beyond the map's end.
    fn bucket(&self, index: u32) -> Option<Bucket>;

    /// Where the first fragment of a packet went.
    fn fragment_owner(&self, key: &FragmentKey) -> Option<FragmentOwner>;

    /// Remembers where the first fragment of a packet goes.
    fn remember_fragment(&mut self, key: &FragmentKey, owner: FragmentOwner);

    /// One more packet with this verdict.
    fn count_reason(&mut self, reason: Reason);

    /// One more packet of so many bytes from this service to this real server.
    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64);
}

/// Takes one frame through the pipeline. If it is to be transmitted its Ethernet addresses are rewritten and its time
/// to live is one less, else it is as it was.
#[inline(always)]
pub fn process<P: Cursor + ?Sized, T: Tables>(packet: &mut P, tables: &mut T) -> Reason {
    let reason = match forward(packet, tables) {
        Ok(Sent { service, real, reason }) => {
            tables.count_forwarded(service, real, packet.length() as u64);
            reason
        }
        Err(reason) => reason,
    };
    tables.count_reason(reason);
    reason
}

struct Sent {
    service: ServiceId,
    real: RealId,
    reason: Reason,
}

#[inline(always)]
fn forward<P: Cursor + ?Sized, T: Tables>(packet: &mut P, tables: &mut T) -> Result<Sent, Reason> {
    match packet.load::<u16>(Ethernet::TYPE) {
        Some(Ethernet::IPV4) => steer(&Ipv4Flow::parse(packet)?, packet, tables),
        Some(Ethernet::IPV6) => steer(&Ipv6Flow::parse(packet)?, packet, tables),
        _ => Err(Reason::NotBalanced),
    }
}

/// The same steps for both families. A packet is judged only once it is known to be for a service of ours.
#[inline(always)]
fn steer<F: Flow, P: Cursor + ?Sized, T: Tables>(flow: &F, packet: &mut P, tables: &mut T) -> Result<Sent, Reason> {
    if let Part::Later(id) = flow.part() {
        return follow(flow, id, packet, tables);
    }
    let settings = tables.settings().ok_or(Reason::NotConfigured)?;
    let matched = classify::classify(flow, settings, tables)?;
    let own_mac = classify::addressed_to_us(packet, settings)?;
    flow.judge(packet)?;
    let chosen = select::select(flow, settings, matched.ring, tables)?;
    if let Part::First(id) = flow.part() {
        tables.remember_fragment(&flow.fragment_key(id), FragmentOwner::new(chosen.bucket, matched.service));
    }
    rewrite::rewrite(flow, packet, own_mac, chosen.bucket).ok_or(Reason::BadLength)?;
    Ok(Sent { service: matched.service, real: chosen.real, reason: flow.sent_as() })
}

/// A later fragment goes where the first one went.
#[inline(always)]
fn follow<F: Flow, P: Cursor + ?Sized, T: Tables>(
    flow: &F,
    id: u32,
    packet: &mut P,
    tables: &T,
) -> Result<Sent, Reason> {
    let owner = tables.fragment_owner(&flow.fragment_key(id)).ok_or(Reason::Fragment)?;
    let (service, bucket) = (owner.service().ok_or(Reason::Fragment)?, owner.bucket());
    let real = bucket.real().ok_or(Reason::Fragment)?;
    let own_mac = classify::addressed_to_us(packet, tables.settings().ok_or(Reason::NotConfigured)?)?;
    flow.judge(packet)?;
    rewrite::rewrite(flow, packet, own_mac, bucket).ok_or(Reason::BadLength)?;
    Ok(Sent { service, real, reason: flow.sent_as() })
}

#[cfg(test)]
mod tests;
