//! What leaves this machine, as `tc` shows it: the bytes of a socket buffer, and the way out of a probe.

use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::programs::TcContext;
use lb_common::abi::{Family, ProbeMark, ProbedVip};
use lb_common::datapath::probe::{Departure, Payload, depart};
use lb_common::wire::{Cursor, Frame, Ipv4, Ipv6, Word};

use crate::maps;

/// The frame of one invocation. It is read and written by the kernel's functions: parts of it may lie elsewhere than the rest,
/// or be shared with the socket that may have to send it once more.
struct Skb<'a> {
    context: &'a TcContext,
    tags: usize,
}

impl Cursor for Skb<'_> {
    #[inline(always)]
    fn length(&self) -> usize {
        self.context.len() as usize - self.tags
    }

    #[inline(always)]
    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        self.load_front(self.tags + offset)
    }

    #[inline(always)]
    fn store<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        self.store_front(self.tags + offset, value)
    }
}

impl Frame for Skb<'_> {
    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.context.skb.skb).ifindex }
    }

    #[inline(always)]
    fn tags(&self) -> usize {
        self.tags
    }

    #[inline(always)]
    fn set_tags(&mut self, bytes: usize) {
        self.tags = bytes;
    }

    #[inline(always)]
    fn load_front<W: Word>(&self, offset: usize) -> Option<W> {
        self.context.load(offset).ok()
    }

    #[inline(always)]
    fn store_front<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        self.context.store(offset, &value, 0).ok()
    }

    /// Nobody asks for it here.
    #[inline(always)]
    fn cut_front(&mut self, _: i32) -> Option<()> {
        None
    }
}

/// Has a probe that goes by a vip go there. What has no mark of ours is left to whoever comes next.
#[inline(always)]
pub fn leave(context: &TcContext) -> i32 {
    // SAFETY: the context is valid while the program runs.
    let mark = unsafe { (*context.skb.skb).mark };
    let Some(mark) = ProbeMark::from_mark(mark) else { return TC_ACT_UNSPEC };
    match redirect(context, mark) {
        Some(()) => TC_ACT_UNSPEC,
        // As it is it would have the check say more than is so.
        None => TC_ACT_SHOT as i32,
    }
}

#[inline(always)]
fn redirect(context: &TcContext, mark: ProbeMark) -> Option<()> {
    let vip = *maps::probed_vip(mark)?;
    let key = maps::flow_key()?;
    let mut frame = Skb { context, tags: 0 };
    let departure = depart(&mut frame, &vip, key)?;
    maps::note_probe(departure.answer, departure.real)?;
    rewrite(&mut frame, &departure, &vip)
}

/// The kernel's functions know whether a checksum is one already, or is left to the network card to finish.
#[inline(always)]
fn rewrite(frame: &mut Skb<'_>, departure: &Departure, vip: &ProbedVip) -> Option<()> {
    let (from, to) = (departure.real, vip.address);
    let mangled = if matches!(departure.payload, Payload::Udp) { BPF_F_MARK_MANGLED_0 as u64 } else { 0 };
    let flags = mangled | BPF_F_PSEUDO_HDR as u64 | 4;
    let part = |frame: &Skb<'_>, at: usize, from: u64, to: u64| {
        frame.context.l4_csum_replace(frame.tags + at, from & 0xffff_ffff, to & 0xffff_ffff, flags).ok()
    };
    match departure.family {
        Family::V4 => {
            if let Some(at) = departure.checksum {
                part(frame, at, from[0], to[0])?;
            }
            let at = frame.tags + Ipv4::CHECKSUM;
            frame.context.l3_csum_replace(at, from[0] & 0xffff_ffff, to[0] & 0xffff_ffff, 4).ok()?;
            frame.store(Ipv4::DESTINATION, to[0] as u32)
        }
        Family::V6 => {
            if let Some(at) = departure.checksum {
                part(frame, at, from[0], to[0])?;
                part(frame, at, from[0] >> 32, to[0] >> 32)?;
                part(frame, at, from[1], to[1])?;
                part(frame, at, from[1] >> 32, to[1] >> 32)?;
            }
            frame.store(Ipv6::DESTINATION, to[0])?;
            frame.store(Ipv6::DESTINATION + 8, to[1])
        }
    }
}
