//! What is remembered of a fragmented packet, so that its later parts follow the first, which alone has the ports.

use super::bucket::RealId;
use super::service::ServiceId;

/// Where the first fragment went. Bits 0-15: the real server. Bits 16-31: the service. Found by a keyed hash of what all
/// fragments of one packet share (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct FragmentOwner(u64);

impl FragmentOwner {
    /// That of a packet of `service` for which this real server was chosen.
    #[inline(always)]
    pub const fn new(real: RealId, service: ServiceId) -> Self {
        Self(real.index() as u64 | (service.index() as u64) << 16)
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
