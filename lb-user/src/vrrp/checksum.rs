//! The Internet checksum (RFC 1071).

use super::packet::Endpoints;

/// A sum in the making: of 16-bit words, in network order, carries not yet folded in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last one counts as if a zero followed it.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        let sum: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
        let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
        Self(self.0 + sum + last)
    }

    /// Adds what the pseudo-header of the network layer holds: both addresses, the length and the protocol. The zeros and
    /// the order of the fields differ between IPv4 and IPv6, the sum does not.
    #[must_use]
    pub fn pseudo_header(self, endpoints: &Endpoints, protocol: u8, length: usize) -> Self {
        let addresses = match endpoints {
            Endpoints::V4 { source, destination } => self.bytes(&source.octets()).bytes(&destination.octets()),
            Endpoints::V6 { source, destination } => self.bytes(&source.octets()).bytes(&destination.octets()),
        };
        Self(addresses.0 + length as u64 + u64::from(protocol))
    }

    /// What belongs into the checksum field, if that was zero; zero, if the field was there and right.
    #[must_use]
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > u64::from(u16::MAX) {
            sum = (sum >> 16) + (sum & u64::from(u16::MAX));
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().bytes(&bytes).finish(), !0xddf2);
        assert_eq!(Sum::default().bytes(&bytes[..4]).bytes(&bytes[4..]).finish(), !0xddf2);
    }

    #[test]
    fn an_odd_byte_is_the_high_half_of_a_word() {
        assert_eq!(Sum::default().bytes(&[1, 2, 3]).finish(), Sum::default().bytes(&[1, 2, 3, 0]).finish());
    }
}
