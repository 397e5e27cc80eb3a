//! Pins: remembered flows, in sets of eight that fill one cache line, one word a pin.
//!
//! One word, so that no packet ever sees half of one, whatever other CPUs and the daemon do. A pin that is confirmed (its flow
//! has sent a second packet) and live is never pushed out: newcomers take what is free, what has expired, or the place of
//! another newcomer. One way of eight is always left to them.

use core::cell::UnsafeCell;

use super::bucket::RealId;
use super::service::ServiceId;

/// How many pins share a cache line.
pub const WAYS: usize = 8;
/// So many of them may be confirmed.
const MOST_CONFIRMED: u32 = WAYS as u32 - 1;

/// The clock of the pins: 17.2 seconds a tick, counted modulo 2048 (9.8 hours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(u16);

impl Tick {
    /// The logarithm of a tick's nanoseconds.
    pub const SHIFT: u32 = 34;
    /// What lies so many ticks in the future counts as now: who looks may have read the clock before who wrote.
    const SLACK: u16 = 64;

    /// Of `CLOCK_MONOTONIC` in nanoseconds.
    #[inline(always)]
    pub const fn from_nanoseconds(now: u64) -> Self {
        Self((now >> Self::SHIFT) as u16 & TICK_MASK)
    }

    /// As a number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// From that number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        Self(number as u16 & TICK_MASK)
    }

    /// How many ticks `self` is before `now`.
    #[inline(always)]
    pub const fn age(self, now: Self) -> u32 {
        ((now.0.wrapping_sub(self.0).wrapping_add(Self::SLACK) & TICK_MASK) as u32).saturating_sub(Self::SLACK as u32)
    }

    /// So many ticks before this one.
    #[must_use]
    pub const fn before(self, ticks: u16) -> Self {
        Self(self.0.wrapping_sub(ticks) & TICK_MASK)
    }
}

const REAL_SHIFT: u32 = 27;
const SERVICE_SHIFT: u32 = 41;
const CONFIRMED: u64 = 1 << 51;
const FOREIGN: u64 = 1 << 52;
const TICK_SHIFT: u32 = 53;
const TICK_BITS: u32 = 11;
const TICK_MASK: u16 = (1 << TICK_BITS) - 1;
const PRINT_MASK: u64 = (1 << REAL_SHIFT) - 1;
/// What tells flows of one set apart.
const NAME_MASK: u64 = PRINT_MASK | 0x3ff << SERVICE_SHIFT;

/// What a flow is found by: its service and 27 bits of a keyed hash, beside those that chose the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinName(pub u64);

impl PinName {
    /// The upper bits of `identity` are used.
    #[inline(always)]
    pub const fn new(identity: u64, service: ServiceId) -> Self {
        Self(identity >> (64 - REAL_SHIFT) | (service.number() as u64) << SERVICE_SHIFT)
    }

    /// From [`Pin::fingerprint`], of which 27 bits count.
    pub const fn from_fingerprint(print: u32, service: ServiceId) -> Self {
        Self(print as u64 & PRINT_MASK | (service.number() as u64) << SERVICE_SHIFT)
    }
}

/// Bits 0-26: a fingerprint of the flow. Bits 27-40: its real server. Bits 41-50: its service. Bit 51: confirmed. Bit 52:
/// foreign: not where its bucket would have sent it when it was last seen. Bits 53-63: the [`Tick`] of that. 0: no pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pin(u64);

impl Pin {
    /// A newcomer, not confirmed.
    #[inline(always)]
    pub const fn new(name: PinName, real: RealId, foreign: bool, now: Tick) -> Self {
        let flags = if foreign { FOREIGN } else { 0 };
        Self(name.0 | (real.index() as u64) << REAL_SHIFT | flags | (now.0 as u64) << TICK_SHIFT)
    }

    /// The same, of a flow that has sent a second packet.
    #[inline(always)]
    #[must_use]
    pub const fn confirmed(self, confirmed: bool) -> Self {
        if confirmed { Self(self.0 | CONFIRMED) } else { self }
    }

    /// Whether this is the pin of that flow.
    #[inline(always)]
    pub const fn is_of(self, name: PinName) -> bool {
        self.0 & NAME_MASK == name.0
    }

    /// What tells its flow from others of its service in its set: 27 bits.
    pub const fn fingerprint(self) -> u32 {
        (self.0 & PRINT_MASK) as u32
    }

    /// The same, as if its flow had sent one packet.
    #[must_use]
    pub const fn unconfirmed(self) -> Self {
        Self(self.0 & !CONFIRMED)
    }

    /// The same, of a flow that is, or may be, elsewhere than its bucket says.
    #[must_use]
    pub const fn foreign(self) -> Self {
        Self(self.0 | FOREIGN)
    }

    /// `None`: no pin.
    #[inline(always)]
    pub const fn real(self) -> Option<RealId> {
        RealId::new((self.0 >> REAL_SHIFT) as u16 & 0x3fff)
    }

    /// `None`: no pin.
    pub const fn service(self) -> Option<ServiceId> {
        ServiceId::new((self.0 >> SERVICE_SHIFT) as u16 & 0x3ff)
    }

    /// Whether its flow has sent more than one packet.
    #[inline(always)]
    pub const fn is_confirmed(self) -> bool {
        self.0 & CONFIRMED != 0
    }

    /// Whether its flow was elsewhere than its bucket said when it was last seen.
    pub const fn is_foreign(self) -> bool {
        self.0 & FOREIGN != 0
    }

    /// When its flow was last seen.
    #[inline(always)]
    pub const fn tick(self) -> Tick {
        Tick((self.0 >> TICK_SHIFT) as u16)
    }

    /// Whether there is a pin, and its flow was seen less than `idle` ticks ago.
    #[inline(always)]
    pub const fn is_live(self, now: Tick, idle: u32) -> bool {
        self.0 != 0 && self.tick().age(now) < idle
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    /// As the map holds it.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }
}

/// The pins whose flows fall in one set; packets on all CPUs, and the daemon, read and write them at any time. (BPF has no
/// relaxed atomic loads that its compiler knows; volatile ones of an aligned word are the same there.)
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct PinSet([UnsafeCell<u64>; WAYS]);

const _: () = assert!(size_of::<PinSet>() == 64);

/// What room a set has, in a number. Bits 0-2: a way. Bits 3-15: 0 if there is none. Bits 16-19: how many live pins are
/// confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room(pub u32);

impl Room {
    /// Where a newcomer can be put.
    #[inline(always)]
    pub const fn way(self) -> Option<usize> {
        if self.0 >> 3 & 0x1fff == 0 { None } else { Some(self.0 as usize % WAYS) }
    }

    /// Whether one more may be confirmed.
    #[inline(always)]
    pub const fn may_confirm(self) -> bool {
        self.0 >> 16 < MOST_CONFIRMED
    }
}

impl PinSet {
    /// A set of these.
    pub fn new(pins: [Pin; WAYS]) -> Self {
        Self(pins.map(|pin| UnsafeCell::new(pin.0)))
    }

    /// The pin in a way, which is taken modulo [`WAYS`].
    #[inline(always)]
    pub fn pin(&self, way: usize) -> Pin {
        // SAFETY: a valid, aligned word; who shares it between CPUs has it in a map, where words are read and written whole.
        Pin(unsafe { self.0[way % WAYS].get().read_volatile() })
    }

    /// Puts a pin in a way. If two CPUs do it at once one of two newcomers, nanoseconds apart in the same set, is forgotten.
    #[inline(always)]
    pub fn set_pin(&self, way: usize, pin: Pin) {
        // SAFETY: as above.
        unsafe { self.0[way % WAYS].get().write_volatile(pin.0) };
    }

    /// The way of a flow's pin, live or not; [`WAYS`] if it has none.
    ///
    /// Without a branch, as [`room`](Self::room): nobody can foretell which of eight ways it is.
    #[inline(always)]
    pub fn find(&self, name: PinName) -> usize {
        let mut found = 0;
        for (way, bit) in BIT_OF.into_iter().enumerate() {
            // A name is never 0, and less than 2^63.
            let differs = (self.pin(way).0 & NAME_MASK) ^ name.0;
            found |= (below_zero(differs as i64 - 1) & 1) << bit;
        }
        // Two CPUs may have pinned a flow at once; one of the two is taken, always the same.
        let one = found & found.wrapping_neg();
        if found == 0 { WAYS } else { (one.wrapping_mul(DE_BRUIJN) >> 61) as usize }
    }

    /// Room for a newcomer: a way that is free or has expired, else the newcomer's that was seen the longest time ago. There
    /// is none only for a while after the idle timeout has changed.
    ///
    /// Without a branch: the kernel's verifier would follow every combination of what eight pins can be. A mask is all ones
    /// for yes and all zeros for no. A way that is free looks like a newcomer's of tick 0.
    #[inline(always)]
    pub fn room(&self, now: Tick, idle: u32) -> Room {
        let (mut best, mut confirmed) = (0, 0);
        for way in 0..WAYS as u64 {
            let worth = worth(self.pin(way as usize), now, idle);
            // Nothing to gain: confirmed and live.
            confirmed += below_zero(worth as i64 - 1) & 1;
            let candidate = worth << 3 | way;
            best ^= (best ^ candidate) & below_zero(best as i64 - candidate as i64);
        }
        Room((best | confirmed << 16) as u32)
    }
}

/// Any three bits of it in a row are another number: shifted by `BIT_OF[way]` it has the way in its upper three.
const DE_BRUIJN: u64 = 0b0001_0111 << 56;
const BIT_OF: [u32; WAYS] = [0, 1, 2, 4, 7, 3, 6, 5];

/// What a newcomer gains by this pin's place, 0 if it stays: it is confirmed and live. A function of its own, for the stack: in
/// line, the compiler works at all eight pins at once.
#[inline(never)]
fn worth(pin: Pin, now: Tick, idle: u32) -> u64 {
    // As [`Tick::age`]: a pin that is a little ahead of the clock is new.
    let slack = Tick::SLACK as u64;
    let ahead =
        ((now.0 as u64).wrapping_sub(pin.0 >> TICK_SHIFT).wrapping_add(slack) & TICK_MASK as u64).wrapping_sub(slack);
    let age = ahead & !below_zero(ahead as i64);
    let expired = below_zero(idle as i64 - 1 - age as i64);
    let stays = below_zero((pin.0 << (63 - CONFIRMED.trailing_zeros())) as i64) & !expired;
    ((age + 1) | (expired & 1 << (TICK_BITS + 1))) & !stays
}

/// All ones if it is.
#[inline(always)]
const fn below_zero(number: i64) -> u64 {
    (number >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: u32 = 50;

    fn tick(ticks: u64) -> Tick {
        Tick::from_nanoseconds(ticks << Tick::SHIFT)
    }

    fn name(flow: u64) -> PinName {
        PinName::new(flow << 40, ServiceId::new(512).expect("the largest id is valid"))
    }

    fn real() -> RealId {
        RealId::new(16_383).expect("the largest id is valid")
    }

    #[test]
    fn a_pin_keeps_all_its_parts() {
        let pin = Pin::new(name(7), real(), true, tick(2047)).confirmed(true);
        assert_eq!((pin.real(), pin.service()), (Some(real()), ServiceId::new(512)));
        assert!(pin.is_confirmed() && pin.is_foreign());
        assert_eq!(pin.tick(), tick(2047));
        assert_eq!(PinName::from_fingerprint(pin.fingerprint(), ServiceId::new(512).expect("it is valid")), name(7));
        assert_eq!(Pin::new(name(7), real(), false, tick(2047)).confirmed(true).foreign(), pin);
        assert_eq!(pin.tick().age(tick(2048 + 3)), 4);
        assert_eq!(pin.tick().age(tick(2047 - 3)), 0, "who looked read the clock before who wrote");
    }

    fn has(set: &PinSet, flow: u64, now: u64) -> bool {
        let way = set.find(name(flow));
        way < WAYS && set.pin(way).is_live(tick(now), IDLE)
    }

    #[test]
    fn a_pin_is_found_in_every_way_and_one_of_two_is() {
        let of = |flow: u64| Pin::new(name(flow), real(), true, tick(9)).confirmed(true);
        for (way, second) in (0..WAYS).flat_map(|way| (0..WAYS).map(move |second| (way, second))) {
            let set = PinSet::new(std::array::from_fn(|way| of(100 + way as u64)));
            assert_eq!(set.find(name(7)), WAYS);
            set.set_pin(way, of(7));
            assert_eq!(set.find(name(7)), way);
            set.set_pin(second, of(7));
            assert!([way, second].contains(&set.find(name(7))));
        }
    }

    fn room(set: &PinSet, now: u64) -> Room {
        set.room(tick(now), IDLE)
    }

    #[test]
    fn no_flood_of_newcomers_pushes_out_what_is_confirmed() {
        let set = PinSet::default();
        for flow in 0..1000 {
            assert!(!has(&set, flow, 1));
            let way = room(&set, 1).way().expect("one way is always left");
            let pin = Pin::new(name(flow), real(), false, tick(1));
            set.set_pin(way, pin);
            if room(&set, 1).may_confirm() {
                set.set_pin(way, pin.confirmed(true));
            }
        }
        for flow in 0..7 {
            assert!(has(&set, flow, 1), "flow {flow} was pushed out");
        }
        assert!(has(&set, 999, 1));
    }

    #[test]
    fn what_has_expired_is_not_found_and_makes_room() {
        let end = 10 + u64::from(IDLE);
        let set = PinSet::default();
        (0..WAYS).for_each(|way| set.set_pin(way, Pin::new(name(1), real(), false, tick(10)).confirmed(true)));
        assert!(has(&set, 1, end - 1) && room(&set, end - 1).way().is_none());
        assert!(!has(&set, 1, end) && room(&set, end).way().is_some());
        set.set_pin(3, Pin(0));
        assert_eq!(room(&set, 10).way(), Some(3));
    }

    #[test]
    fn what_was_seen_after_the_clock_was_read_is_live() {
        let set = PinSet::default();
        set.set_pin(0, Pin::new(name(1), real(), false, tick(11)));
        assert!(set.pin(0).is_live(tick(10), IDLE));
        (0..WAYS).for_each(|way| set.set_pin(way, Pin::new(name(1), real(), false, tick(11)).confirmed(true)));
        assert!(room(&set, 10).way().is_none(), "and it makes no room");
    }

    #[test]
    fn the_newcomer_silent_for_longest_goes_first() {
        let newcomer = |seen: u64| Pin::new(name(seen), real(), false, tick(seen));
        let set = PinSet::new([9, 5, 7, 9, 9, 9, 9, 9].map(newcomer));
        assert_eq!(room(&set, 9).way(), Some(1));
    }
}
