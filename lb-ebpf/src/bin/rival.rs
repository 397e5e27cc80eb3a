//! What we measure ourselves against: the flow table that other balancers have, one LRU hash entry for each flow.
//!
//! Twice: `lru_rival` is our own pipeline with that table in the place of the pins. `lru_bare` is as cheap as a program with
//! such a table can be: IPv4 and TCP only, no look-up of the service, no judging, no time to live, one counter. An object of
//! its own, because its table is large.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[path = "../bench/frames.rs"]
#[expect(dead_code, reason = "only IPv4 frames for one service are needed here")]
mod frames;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::btf_maps::{LruHashMap, PerCpuArray};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;
use frames::next_v4;
use lb_common::abi::{
    AccessList, Bucket, FragmentOwner, Mac, PinSet, Protocol, RealId, RealSlot, ServiceId, ServiceKey, ServiceSlot,
    Settings, Signal, SynNote, SynTick, Tick, VipGuard,
};
use lb_common::datapath::{Tables, Tracked};
use lb_common::hash::{mix, reduce};
use lb_common::reason::Reason;
use lb_common::wire::{Cursor, Ethernet, Frame, Ipv4};
use lb_ebpf::cursor::XdpCursor;
use lb_ebpf::maps::KernelTables;
use lb_ebpf::program;

/// Who talks to whom.
#[repr(C)]
pub struct FiveTuple {
    source: u32,
    destination: u32,
    ports: u32,
    protocol: u32,
}

/// The real server's MAC, in the low 48 bits.
type RealMac = u64;

#[btf_map]
static FLOWS: LruHashMap<FiveTuple, RealMac, 1_048_576> = LruHashMap::new();
/// The same for our own pipeline, by the hash that stands for the flow.
#[btf_map]
static TRACKED: LruHashMap<u64, Bucket, 1_048_576> = LruHashMap::new();
/// How many frames found their flow (0), and how many did not (1).
#[btf_map]
static FOUND: PerCpuArray<u64, 2> = PerCpuArray::new();

const REALS: u32 = 100;

/// Our tables, but for the pins. The key is as small as it can be: the hash that stands for the flow.
struct RivalTables {
    ours: KernelTables,
}

impl Tables for RivalTables {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        self.ours.settings()
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<&ServiceSlot> {
        self.ours.slot(index)
    }

    #[inline(always)]
    fn real(&self, id: RealId) -> Option<&RealSlot> {
        self.ours.real(id)
    }

    #[inline(always)]
    fn pins(&self, set: u32) -> Option<&PinSet> {
        self.ours.pins(set)
    }

    #[inline(always)]
    fn track(&mut self, tracked: Tracked) -> Bucket {
        // SAFETY: the value is copied at once, as one word.
        match unsafe { TRACKED.get(tracked.identity) } {
            Some(bucket) => *bucket,
            None => {
                let _ = TRACKED.insert(tracked.identity, tracked.bucket, 0);
                tracked.bucket
            }
        }
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<Bucket> {
        self.ours.bucket(index)
    }

    #[inline(always)]
    fn find_block(&self, key: ServiceKey) -> Option<u32> {
        self.ours.find_block(key)
    }

    #[inline(always)]
    fn now(&self) -> Tick {
        self.ours.now()
    }

    #[inline(always)]
    fn access(&self, list: AccessList, client: [u64; 2]) -> Option<u32> {
        self.ours.access(list, client)
    }

    #[inline(always)]
    fn is_fenced(&self, vip: [u64; 2]) -> bool {
        self.ours.is_fenced(vip)
    }

    #[inline(always)]
    fn guard(&self, vip: [u64; 2]) -> Option<VipGuard> {
        self.ours.guard(vip)
    }

    #[inline(always)]
    fn is_closed<P: Frame + ?Sized>(&self, frame: &mut P) -> bool {
        self.ours.is_closed(frame)
    }

    #[inline(always)]
    fn fragment_owner(&self, packet: u64) -> Option<FragmentOwner> {
        self.ours.fragment_owner(packet)
    }

    #[inline(always)]
    fn probed_real(&self, answer: u64) -> Option<[u64; 2]> {
        self.ours.probed_real(answer)
    }

    #[inline(always)]
    fn syn(&self, place: u32) -> Option<&SynNote> {
        self.ours.syn(place)
    }

    #[inline(always)]
    fn syn_clock(&self) -> SynTick {
        self.ours.syn_clock()
    }

    #[inline(always)]
    fn note_fragment<P: Frame + ?Sized>(&mut self, frame: &mut P, service: ServiceId, real: RealId) {
        self.ours.note_fragment(frame, service, real);
    }

    #[inline(always)]
    fn note_syn(&mut self, syn: u64, real: RealId) {
        self.ours.note_syn(syn, real);
    }

    #[inline(always)]
    fn count_signal(&mut self, real: RealId, signal: Signal) {
        self.ours.count_signal(real, signal);
    }

    #[inline(always)]
    fn remember_fragment(&mut self, packet: u64, owner: FragmentOwner) {
        self.ours.remember_fragment(packet, owner);
    }

    #[inline(always)]
    fn count_reason(&mut self, reason: Reason) {
        self.ours.count_reason(reason);
    }

    #[inline(always)]
    fn count_forwarded(&mut self, service: ServiceId, real: RealId, bytes: u64) {
        self.ours.count_forwarded(service, real, bytes);
    }
}

/// Each repeat with another IPv4 flow.
#[xdp]
pub fn lru_rival(ctx: XdpContext) -> u32 {
    match next_v4(&mut XdpCursor::new(&ctx)) {
        Some(()) => program::run_over(&ctx, &mut RivalTables { ours: KernelTables::new(ctx.ctx) }),
        None => XDP_ABORTED,
    }
}

/// Each repeat with another IPv4 flow.
#[xdp]
pub fn lru_bare(ctx: XdpContext) -> u32 {
    let mut packet = XdpCursor::new(&ctx);
    match next_v4(&mut packet) {
        Some(()) => forward(&mut packet).unwrap_or(XDP_PASS),
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn forward(packet: &mut XdpCursor) -> Option<u32> {
    let flow = parse(packet)?;
    // SAFETY: the value is copied at once, as one word.
    let known = unsafe { FLOWS.get(&flow) }.copied();
    count(known.is_none() as u32);
    let destination = match known {
        Some(destination) => destination,
        None => remember(&flow),
    };
    let own = packet.load::<u64>(Ethernet::DESTINATION)? & 0xffff_ffff_ffff;
    packet.store(Ethernet::DESTINATION, destination | own << 48)?;
    packet.store(Ethernet::DESTINATION + 8, (own >> 16) as u32)?;
    Some(XDP_TX)
}

/// `None`: no TCP over IPv4 without options.
#[inline(always)]
fn parse(packet: &XdpCursor) -> Option<FiveTuple> {
    let ports = packet.load(Ethernet::LEN + Ipv4::LEN)?;
    let ether_type: u16 = packet.load(Ethernet::TYPE)?;
    let first: u8 = packet.load(Ipv4::FIRST)?;
    let fragment: u32 = packet.load(Ipv4::FRAGMENT)?;
    let protocol: u8 = packet.load(Ipv4::TTL + 1)?;
    let plain = first == 0x45 && fragment & Ipv4::FRAGMENT_MASK == 0;
    (ether_type == Ethernet::IPV4 && plain && protocol == Protocol::Tcp as u8).then_some(())?;
    let (source, destination) = (packet.load(Ipv4::SOURCE)?, packet.load(Ipv4::DESTINATION)?);
    Some(FiveTuple { source, destination, ports, protocol: protocol as u32 })
}

#[inline(always)]
fn remember(flow: &FiveTuple) -> RealMac {
    let hash = mix((flow.source as u64) << 32 | flow.ports as u64) as u32;
    let [low, high] = (reduce(hash, REALS) as u16).to_le_bytes();
    let mac = Mac([2, 0, 0, 1, high, low]).to_word();
    // A table that is full forgets the least used; there is no other failure.
    let _ = FLOWS.insert(flow, mac, 0);
    mac
}

#[inline(always)]
fn count(which: u32) {
    if let Some(count) = FOUND.get_ptr_mut(which) {
        // SAFETY: a valid slot of this CPU's copy; XDP does not interrupt itself on a CPU.
        unsafe { *count += 1 };
    }
}
