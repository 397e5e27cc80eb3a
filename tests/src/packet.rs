//! Frames for fixtures, built field by field.

use std::net::Ipv4Addr;

use lb_common::abi::{Mac, Protocol};

/// One IPv4 TCP or UDP frame. Every field may be set to what no honest sender would send.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Ethernet destination.
    pub destination_mac: Mac,
    /// Ethernet source.
    pub source_mac: Mac,
    /// IPv4 source.
    pub source: Ipv4Addr,
    /// IPv4 destination.
    pub destination: Ipv4Addr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Bytes of IPv4 options (no-operations), 0 to 40; a multiple of 4.
    pub options: usize,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Payload bytes (zeros).
    pub payload: usize,
}

impl Packet {
    /// A 64-byte frame (with the FCS that is not in it) from a client to a service.
    pub fn new(
        protocol: Protocol,
        (source, source_port): (Ipv4Addr, u16),
        (destination, destination_port): (Ipv4Addr, u16),
    ) -> Self {
        Self {
            destination_mac: crate::fixture::DIRECTOR,
            source_mac: crate::fixture::CLIENT,
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            options: 0,
            fragment: 0,
            payload: if protocol == Protocol::Tcp { 6 } else { 18 },
        }
    }

    /// The frame, with right lengths and IPv4 checksum; the transport checksum is left zero, nobody here reads it.
    pub fn bytes(&self) -> Vec<u8> {
        let Self { destination_mac, source_mac, source, destination, protocol, .. } = *self;
        let transport = self.transport();
        let header = 20 + self.options;
        let total = u16::try_from(header + transport.len()).unwrap_or(u16::MAX);
        let mut frame = [destination_mac.0, source_mac.0].concat();
        frame.extend([0x08, 0x00, 0x40 | (header / 4) as u8, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 1]);
        frame.extend(self.fragment.to_be_bytes());
        frame.extend([64, protocol as u8, 0, 0]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        frame.resize(14 + header, 1);
        let checksum = internet_checksum(&frame[14..14 + header]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(transport);
        frame
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = [self.source_port.to_be_bytes(), self.destination_port.to_be_bytes()].concat();
        match self.protocol {
            // Sequence, acknowledgement, five words long with ACK set, window, checksum, urgent pointer.
            Protocol::Tcp => bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]),
            Protocol::Udp => {
                let length = u16::try_from(8 + self.payload).unwrap_or(u16::MAX);
                bytes.extend([length.to_be_bytes(), [0, 0]].concat());
            }
        }
        bytes.resize(bytes.len() + self.payload, 0);
        bytes
    }
}

/// RFC 1071, over a header whose checksum field is zero.
fn internet_checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_textbook_header_is_the_textbooks() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00,
            0xc7,
        ];
        assert_eq!(internet_checksum(&header), 0xb861);
    }
}
