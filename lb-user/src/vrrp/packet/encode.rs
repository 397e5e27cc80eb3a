//! From an advert to bytes.

use super::super::checksum::Sum;
use super::decode::{ADVERTISEMENT, AUTH_NONE, AUTH_PASS};
use super::{Addresses, Advert, Auth, Coverage, Dialect, Endpoints, PROTOCOL, Password};

/// Where the checksum lies in a message, in both versions. (The kernel wants to know, to fill in IPv6's.)
pub const CHECKSUM_AT: usize = 6;

/// What no message can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The count is one byte.
    #[error("{0} addresses are more than an advert holds, which is 255")]
    TooManyAddresses(usize),
    /// All in one message are of one family: that of the packet around it, and IPv4 in version 2.
    #[error("addresses of another family than the packet's or the version's")]
    Family,
}

impl Advert<'_> {
    /// Appends the message; without room in `into`, that allocates. Nothing is appended if it fails.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn encode(&self, endpoints: &Endpoints, into: &mut Vec<u8>) -> Result<(), EncodeError> {
        let count = u8::try_from(self.addresses.len());
        let count = count.map_err(|_| EncodeError::TooManyAddresses(self.addresses.len()))?;
        match (&self.dialect, &self.addresses, endpoints) {
            (_, Addresses::V4(_), Endpoints::V4 { .. }) => {}
            (Dialect::V3 { .. }, Addresses::V6(_), Endpoints::V6 { .. }) => {}
            _ => return Err(EncodeError::Family),
        }
        let start = into.len();
        let (version, [fifth, sixth]) = self.varying();
        into.extend([version << 4 | ADVERTISEMENT, self.vrid.get(), self.priority, count, fifth, sixth, 0, 0]);
        match self.addresses {
            Addresses::V4(list) => into.extend(list.as_flattened()),
            Addresses::V6(list) => into.extend(list.as_flattened()),
        }
        if let Dialect::V2 { auth, .. } = &self.dialect {
            into.extend(auth_data(auth));
        }
        let message = &mut into[start..];
        let checksum = self.checksum(message, endpoints).to_be_bytes();
        message[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum);
        Ok(())
    }

    /// The version, and the two bytes that mean something else in each.
    const fn varying(&self) -> (u8, [u8; 2]) {
        match self.dialect {
            Dialect::V2 { seconds, auth: Auth::None } => (2, [AUTH_NONE, seconds.get()]),
            Dialect::V2 { seconds, auth: Auth::Pass(_) } => (2, [AUTH_PASS, seconds.get()]),
            Dialect::V3 { interval, .. } => (3, interval.number().to_be_bytes()),
        }
    }

    fn checksum(&self, message: &[u8], endpoints: &Endpoints) -> u16 {
        let bare = Sum::default().bytes(message);
        let in_v4 = matches!(endpoints, Endpoints::V4 { .. });
        match self.dialect {
            Dialect::V2 { .. } => bare.finish(),
            Dialect::V3 { coverage: Coverage::MessageOnly, .. } if in_v4 => bare.finish(),
            Dialect::V3 { .. } => bare.pseudo_header(endpoints, PROTOCOL, message.len()).finish(),
        }
    }
}

const fn auth_data(auth: &Auth) -> [u8; Password::BYTES] {
    match auth {
        Auth::None => [0; Password::BYTES],
        Auth::Pass(password) => *password.bytes(),
    }
}
