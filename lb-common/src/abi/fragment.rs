//! What is remembered of a fragmented packet, so that its later parts follow the first, which alone has the ports.

use super::bucket::RealId;
use super::pin::Tick;
use super::service::ServiceId;

/// Where the first fragment went. Bits 0-15: the real server. Bits 16-31: the service. Bits 32-47: the [`Tick`]. Found by a keyed hash of what all
/// fragments of one packet share (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct FragmentOwner(u64);

impl FragmentOwner {
    /// Ticks after which its identification may be another packet's: 17 to 34 seconds; RFC 791 lets a packet live for two
    /// minutes, but no host waits that long for its parts.
    const FRESH: u32 = 2;

    /// That of a packet of `service` for which this real server was chosen now.
    #[inline(always)]
    pub const fn new(real: RealId, service: ServiceId, now: Tick) -> Self {
        Self(real.index() as u64 | (service.index() as u64) << 16 | (now.number() as u64) << 32)
    }

    /// Whether its later fragments may still come.
    #[inline(always)]
    pub const fn is_fresh(self, now: Tick) -> bool {
        Tick::from_number((self.0 >> 32) as u32).age(now) < Self::FRESH
    }

    /// `None` if this was never written.
    #[inline(always)]
    pub const fn real(self) -> Option<RealId> {
        RealId::new(self.0 as u16)
    }

    /// `None` if this was never written.
    #[inline(always)]
    pub const fn service(self) -> Option<ServiceId> {
        ServiceId::new((self.0 >> 16) as u16)
    }
}
