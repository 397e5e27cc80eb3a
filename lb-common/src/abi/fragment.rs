//! What is remembered of a fragmented packet, so that its later parts follow the first, which alone has the ports.

use super::bucket::Bucket;
use super::service::ServiceId;

/// What all fragments of one packet share (RFC 791, section 3.2; RFC 8200, section 4.5). Addresses as loaded on a
/// little-endian machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// IP source; IPv4 in the first word.
    pub source: [u64; 2],
    /// IP destination.
    pub destination: [u64; 2],
    /// The identification, as loaded.
    pub id: u32,
    /// Bits 0-7: the protocol (IPv4 alone). Bits 8-15: the [`Family`](super::Family).
    pub kind: u32,
}

const _: () = assert!(size_of::<FragmentKey>() == 40);

/// Where the first fragment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FragmentOwner {
    bucket: u64,
    service: u64,
}

const _: () = assert!(size_of::<FragmentOwner>() == 16);

impl FragmentOwner {
    /// That of a packet of `service` for which this bucket was chosen.
    #[inline(always)]
    pub const fn new(bucket: Bucket, service: ServiceId) -> Self {
        Self { bucket: bucket.to_word(), service: service.number() as u64 }
    }

    /// The bucket as it was when the first fragment passed.
    #[inline(always)]
    pub const fn bucket(&self) -> Bucket {
        Bucket::from_word(self.bucket)
    }

    /// `None` if this was never written.
    #[inline(always)]
    pub const fn service(&self) -> Option<ServiceId> {
        ServiceId::new(self.service as u16)
    }
}
