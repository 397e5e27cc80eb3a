//! From bytes to an advert.
//!
//! ```text
//! version 2   ver=2 type=1 | vrid | priority | count | auth type | seconds       | checksum | count * 4 | 8 bytes of auth
//! version 3   ver=3 type=1 | vrid | priority | count | 4 bits, 12 bits interval  | checksum | count * 4 or count * 16
//! ```

use std::num::NonZeroU8;

use super::super::checksum::Sum;
use super::{Addresses, Advert, Auth, Centiseconds, Coverage, Dialect, Endpoints, Envelope, PROTOCOL, Password, TTL};

/// The only type of message there is (RFC 5798 section 5.2.2).
pub(super) const ADVERTISEMENT: u8 = 1;
/// What comes before the addresses.
pub(super) const HEADER_BYTES: usize = 8;
/// The values of version 2's field for the kind of authentication (RFC 2338 section 5.3.6).
pub(super) const AUTH_NONE: u8 = 0;
pub(super) const AUTH_PASS: u8 = 1;

/// Why a message is no advert. Each is one of the checks of RFC 5798 section 7.1 (RFC 3768 section 7.1), made in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// It came through a router.
    #[error("the TTL is {0}, not {TTL}: it is not from this link")]
    Ttl(u8),
    /// It has no whole header.
    #[error("{bytes} bytes are too few for a header of {HEADER_BYTES}")]
    TooShort {
        /// The length.
        bytes: usize,
    },
    /// Neither version 2 nor version 3.
    #[error("unknown version {0}")]
    Version(u8),
    /// Version 2 knows IPv4 only.
    #[error("version 2 over IPv6")]
    FamilyOfVersion2,
    /// Not an advertisement.
    #[error("unknown type {0}")]
    Type(u8),
    /// The length is not what the count of addresses demands.
    #[error("{bytes} bytes do not hold exactly {count} addresses")]
    Count {
        /// What the header says.
        count: u8,
        /// The length.
        bytes: usize,
    },
    /// Damaged on the way, or computed otherwise by the sender.
    #[error("the checksum is wrong")]
    Checksum,
    /// Virtual routers are numbered from 1.
    #[error("the VRID is 0")]
    Vrid,
    /// A version 3 advert without a vip (RFC 9568 erratum 8299). Version 2 lets it pass, for keepalived sends such.
    #[error("it names no address")]
    NoAddress,
    /// Neither none nor a password.
    #[error("unknown authentication type {0}")]
    AuthType(u8),
    /// Adverts without pause, or never (RFC 9568 section 7.1).
    #[error("the interval is 0")]
    Interval,
}

/// Reads the message that was in a datagram. Whether it is meant for us, and from whom we expect it, the machine judges.
///
/// Over IPv4 either form of version 3's checksum is accepted; [`Dialect::V3`] says which it was.
///
/// # Errors
/// See [`PacketError`]: the first check that fails.
pub fn decode<'a>(message: &'a [u8], envelope: &Envelope) -> Result<Advert<'a>, PacketError> {
    if envelope.ttl != TTL {
        return Err(PacketError::Ttl(envelope.ttl));
    }
    let too_short = PacketError::TooShort { bytes: message.len() };
    let (header, body) = message.split_first_chunk::<HEADER_BYTES>().ok_or(too_short)?;
    let [first, vrid, priority, count, ..] = *header;
    match (first >> 4, &envelope.endpoints) {
        (2, Endpoints::V4 { .. }) | (3, _) => {}
        (2, Endpoints::V6 { .. }) => return Err(PacketError::FamilyOfVersion2),
        (version, _) => return Err(PacketError::Version(version)),
    }
    if first & 0x0f != ADVERTISEMENT {
        return Err(PacketError::Type(first & 0x0f));
    }
    let mismatch = PacketError::Count { count, bytes: message.len() };
    let (body, auth) = if first >> 4 == 2 {
        body.split_last_chunk::<{ Password::BYTES }>().map(|(body, auth)| (body, Some(auth))).ok_or(mismatch)?
    } else {
        (body, None)
    };
    let addresses = addresses(body, &envelope.endpoints).filter(|list| list.len() == usize::from(count));
    let addresses = addresses.ok_or(mismatch)?;
    let coverage = coverage(message, auth.is_some(), &envelope.endpoints).ok_or(PacketError::Checksum)?;
    let vrid = NonZeroU8::new(vrid).ok_or(PacketError::Vrid)?;
    let dialect = match auth {
        Some(auth) => version_2(header, auth)?,
        None => version_3(header, coverage)?,
    };
    Ok(Advert { vrid, priority, dialect, addresses })
}

/// `None` if the bytes are no whole number of addresses.
fn addresses<'a>(body: &'a [u8], endpoints: &Endpoints) -> Option<Addresses<'a>> {
    let (addresses, rest) = match endpoints {
        Endpoints::V4 { .. } => {
            let (list, rest) = body.as_chunks();
            (Addresses::V4(list), rest)
        }
        Endpoints::V6 { .. } => {
            let (list, rest) = body.as_chunks();
            (Addresses::V6(list), rest)
        }
    };
    rest.is_empty().then_some(addresses)
}

fn version_2(header: &[u8; HEADER_BYTES], auth: &[u8; Password::BYTES]) -> Result<Dialect, PacketError> {
    let [_, _, _, _, auth_type, seconds, ..] = *header;
    let auth = match auth_type {
        // What follows is to be ignored then (RFC 2338 section 5.3.6.1).
        AUTH_NONE => Auth::None,
        AUTH_PASS => Auth::Pass(Password::new(auth)),
        other => return Err(PacketError::AuthType(other)),
    };
    Ok(Dialect::V2 { seconds: NonZeroU8::new(seconds).ok_or(PacketError::Interval)?, auth })
}

fn version_3(header: &[u8; HEADER_BYTES], coverage: Coverage) -> Result<Dialect, PacketError> {
    let [_, _, _, count, high, low, ..] = *header;
    if count == 0 {
        return Err(PacketError::NoAddress);
    }
    // The upper four bits are reserved: zero when sent, ignored when received (RFC 5798 section 5.2.6).
    let interval = Centiseconds::new(u16::from_be_bytes([high & 0x0f, low])).ok_or(PacketError::Interval)?;
    Ok(Dialect::V3 { interval, coverage })
}

/// In which form the checksum is right, if in any. Version 2's covers the whole message, the authentication data too,
/// and nothing else (RFC 3768 section 5.3.8); over IPv6 the pseudo-header always belongs to it (RFC 5798 section 5.2.8).
fn coverage(message: &[u8], is_version_2: bool, endpoints: &Endpoints) -> Option<Coverage> {
    let bare = Sum::default().bytes(message);
    if !is_version_2 && bare.pseudo_header(endpoints, PROTOCOL, message.len()).finish() == 0 {
        return Some(Coverage::WithPseudoHeader);
    }
    let may_be_bare = matches!(endpoints, Endpoints::V4 { .. });
    (may_be_bare && bare.finish() == 0).then_some(Coverage::MessageOnly)
}
