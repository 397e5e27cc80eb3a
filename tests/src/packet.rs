//! Frames for fixtures, built field by field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::{Mac, Protocol};

/// One TCP or UDP frame. Every field may be set to what no honest sender would send.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Ethernet destination.
    pub destination_mac: Mac,
    /// Ethernet source.
    pub source_mac: Mac,
    /// VLAN tags, the outer first: type and control information.
    pub tags: Vec<(u16, u16)>,
    /// IP source, of the family of the destination.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Flags of a TCP segment.
    pub tcp_flags: u8,
    /// Words of IPv4 options (no-operations), 0 to 10.
    pub options: usize,
    /// IPv4: flags and fragment offset.
    pub fragment: u16,
    /// IPv6: extension headers, (number, bytes less the first 8, in units of 8).
    pub extensions: Vec<(u8, u8)>,
    /// IPv6: the fragment header among the extension headers, but for its first two bytes.
    pub fragment_header: [u8; 8],
    /// Payload bytes (zeros).
    pub payload: usize,
}

impl Packet {
    /// The flag of a segment that opens a connection.
    pub const SYN: u8 = 2;
    /// The flag of one that ends a connection at once.
    pub const RST: u8 = 4;
    /// The flag of all others.
    pub const ACK: u8 = 16;

    /// A frame from a client to a service; over IPv4 it has 64 bytes with the FCS that is not in it.
    pub fn new(protocol: Protocol, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Self {
        Self {
            destination_mac: crate::fixture::DIRECTOR,
            source_mac: crate::fixture::CLIENT,
            tags: Vec::new(),
            source: source.0,
            destination: destination.0,
            protocol,
            source_port: source.1,
            destination_port: destination.1,
            ttl: 64,
            tcp_flags: Self::ACK,
            options: 0,
            fragment: 0,
            extensions: Vec::new(),
            fragment_header: [0; 8],
            payload: if protocol == Protocol::Tcp { 6 } else { 18 },
        }
    }

    /// The frame, with right lengths and IPv4 checksum; the transport checksum is left zero, nobody here reads it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = self.link_header();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00]);
                frame.extend(self.ipv4(&source.octets(), &destination.octets()));
            }
            (source, destination) => {
                frame.extend([0x86, 0xdd]);
                frame.extend(self.ipv6(&octets(source), &octets(destination)));
            }
        }
        frame.extend(self.transport());
        frame
    }

    /// What a router on the way back would say to the service of a packet of this flow: an ICMP error of this type
    /// that quotes so many bytes.
    pub fn icmp_error(&self, router: IpAddr, kind: u8, quoted: usize) -> Vec<u8> {
        let answer = Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            tags: Vec::new(),
            ..self.clone()
        };
        let mut quote = answer.bytes().split_off(14);
        quote.truncate(quoted);
        let body = [&[kind, 4, 0, 0, 0, 0, 5, 0x78], quote.as_slice()].concat();
        let mut frame = self.link_header();
        match (router, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00]);
                frame.extend(self.ipv4_header(1, body.len(), &source.octets(), &destination.octets()));
            }
            (source, destination) => {
                frame.extend([0x86, 0xdd]);
                frame.extend(self.ipv6_header(58, body.len(), &octets(source), &octets(destination)));
            }
        }
        frame.extend(body);
        frame
    }

    fn link_header(&self) -> Vec<u8> {
        let tags = self.tags.iter().flat_map(|(kind, control)| [kind.to_be_bytes(), control.to_be_bytes()].concat());
        [self.destination_mac.0, self.source_mac.0].concat().into_iter().chain(tags).collect()
    }

    fn ipv4(&self, source: &[u8], destination: &[u8]) -> Vec<u8> {
        self.ipv4_header(self.protocol as u8, self.transport().len(), source, destination)
    }

    fn ipv6(&self, source: &[u8], destination: &[u8]) -> Vec<u8> {
        self.ipv6_header(self.protocol as u8, self.transport().len(), source, destination)
    }

    fn ipv4_header(&self, protocol: u8, payload: usize, source: &[u8], destination: &[u8]) -> Vec<u8> {
        let length = 20 + 4 * self.options;
        let mut header = vec![0x40 | (length / 4) as u8, 0];
        header.extend(number(length + payload));
        header.extend([0, 1]);
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        header.resize(length, 1);
        let checksum = internet_checksum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn ipv6_header(&self, upper: u8, payload: usize, source: &[u8], destination: &[u8]) -> Vec<u8> {
        let mut chain = Vec::new();
        let followers = self.extensions.iter().map(|(number, _)| *number).skip(1).chain([upper]);
        for ((number, more), next) in self.extensions.iter().zip(followers) {
            chain.extend([next, *more]);
            chain.extend(if *number == 44 { &self.fragment_header[2..] } else { &[0; 6] });
            chain.resize(chain.len() + 8 * usize::from(*more), 0);
        }
        let first = self.extensions.first().map_or(upper, |(number, _)| *number);
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(number(chain.len() + payload));
        header.extend([first, self.ttl]);
        header.extend(source);
        header.extend(destination);
        header.extend(chain);
        header
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = [self.source_port.to_be_bytes(), self.destination_port.to_be_bytes()].concat();
        match self.protocol {
            // Sequence, acknowledgement, five words long, flags, window, checksum, urgent pointer.
            Protocol::Tcp => bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, self.tcp_flags, 1, 0, 0, 0, 0, 0]),
            Protocol::Udp => bytes.extend([number(8 + self.payload), [0, 0]].concat()),
        }
        bytes.resize(bytes.len() + self.payload, 0);
        bytes
    }
}

/// A client's question who has an IPv4 address (RFC 826).
pub fn arp_request(target: Ipv4Addr) -> Vec<u8> {
    let client = crate::fixture::CLIENT.0;
    let head = [0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1];
    [&[0xff; 6][..], &client, &head, &client, &[10, 66, 0, 10], &[0; 6], &target.octets()].concat()
}

/// A client's question who has an IPv6 address (RFC 4861, section 4.3), without options.
pub fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let last = target.octets();
    let [.., a, b, c] = last;
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let source = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 0x10);
    let head = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255];
    let link = [&[0x33, 0x33, 0xff, a, b, c][..], &crate::fixture::CLIENT.0, &head].concat();
    [&link[..], &source.octets(), &group.octets(), &[135, 0, 0, 0, 0, 0, 0, 0], &last].concat()
}

/// A length field; what does not fit is as large as it can be.
fn number(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
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
