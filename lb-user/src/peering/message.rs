//! What directors say to one another, and how it is written: a kind, and its fields one behind the other, big-endian.
//!
//! ```text
//! State 1     name, version (length in a byte, text), pins (4), seed (8), rings (8)
//! Ping 2, Pong 3
//! Pins 4      services, reals, pins (2 each); service: address, ports (2, 2), protocol (1), zone (text), owners
//!             (8);
//!             real: pool (text), address; pin: set (4), print (4), service (2), real (2), age and flags (2)
//! Question 5  number (4), pool (text), address
//! Answer 6    number (4), verdict (1), age of the last probe in milliseconds (8; all ones: none)
//! address     4 or 6 (1), 4 or 16 bytes
//! ```

use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::limits::NAME_BYTES;
use lb_common::abi::{Name, Protocol};

use crate::state::{Batch, ToldPin, ToldReal, ToldService};

/// Of all of this; directors of another version are not talked to.
pub const VERSION: u8 = 1;
/// The longest message, in bytes: what one encrypted frame has room for.
pub const LONGEST: usize = 65_535 - 16;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who speaks; the first on each side, and again when something of it changes.
    State(State),
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// Flows, and where they are.
    Pins(Batch),
    /// What is thought of a real server there.
    Question {
        /// Comes back in the answer.
        number: u32,
        /// The pool's name.
        pool: String,
        /// The real server's address.
        address: IpAddr,
    },
    /// That.
    Answer {
        /// Of the question.
        number: u32,
        /// What is thought.
        opinion: Opinion,
    },
}

/// What a director says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The machine's name; at most 64 bytes.
    pub name: String,
    /// Of xdirector; at most 64 bytes.
    pub version: String,
    /// `limits.pins`
    pub pins: u32,
    /// Stands for the hash seed, and does not tell it.
    pub seed: u64,
    /// Stands for what all rings are made of.
    pub rings: u64,
}

/// What a director thinks of a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Its verdict.
    pub verdict: Verdict,
    /// How long ago its last probe ended; `None` if there was none.
    pub age: Option<Duration>,
}

/// A verdict on a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no such pool there, or no such real server in it.
    Unknown,
    /// It has not been probed, or has no check.
    Unchecked,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// They end too early, or too late.
    #[error("a message of another length than it says")]
    Length,
    /// This version has none of this kind.
    #[error("a message of the unknown kind {0}")]
    Kind(u8),
    /// A field has a value that means nothing.
    #[error("a message whose {0} means nothing")]
    Field(&'static str),
}

const STATE: u8 = 1;
const PING: u8 = 2;
const PONG: u8 = 3;
const PINS: u8 = 4;
const QUESTION: u8 = 5;
const ANSWER: u8 = 6;

const AGE: u16 = 0x07ff;
const CONFIRMED: u16 = 1 << 14;
const OFF_RING: u16 = 1 << 15;
const PRINT_BITS: u32 = 27;
const NO_PROBE: u64 = u64::MAX;

impl Message {
    /// As it travels; longer than [`LONGEST`] only if it has no business to be.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::State(State { name, version, pins, seed, rings }) => {
                out.push(STATE);
                put_text(&mut out, name);
                put_text(&mut out, version);
                out.extend(pins.to_be_bytes());
                out.extend(seed.to_be_bytes());
                out.extend(rings.to_be_bytes());
            }
            Self::Ping => out.push(PING),
            Self::Pong => out.push(PONG),
            Self::Pins(batch) => {
                out.push(PINS);
                put_batch(&mut out, batch);
            }
            Self::Question { number, pool, address } => {
                out.push(QUESTION);
                out.extend(number.to_be_bytes());
                put_text(&mut out, pool);
                put_address(&mut out, *address);
            }
            Self::Answer { number, opinion: Opinion { verdict, age } } => {
                out.push(ANSWER);
                out.extend(number.to_be_bytes());
                out.push(*verdict as u8);
                let milliseconds = age.map_or(NO_PROBE, |age| u64::try_from(age.as_millis()).unwrap_or(NO_PROBE - 1));
                out.extend(milliseconds.to_be_bytes());
            }
        }
        out
    }

    /// What these bytes say.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut input = Input(bytes);
        let message = match input.byte()? {
            STATE => {
                let (name, version) = (input.text()?, input.text()?);
                let (pins, seed, rings) = (input.u32()?, input.u64()?, input.u64()?);
                Self::State(State { name, version, pins, seed, rings })
            }
            PING => Self::Ping,
            PONG => Self::Pong,
            PINS => Self::Pins(input.batch()?),
            QUESTION => Self::Question { number: input.u32()?, pool: input.text()?, address: input.address()? },
            ANSWER => Self::Answer { number: input.u32()?, opinion: input.opinion()? },
            kind => return Err(MessageError::Kind(kind)),
        };
        if input.0.is_empty() { Ok(message) } else { Err(MessageError::Length) }
    }
}

/// A text that is too long is cut at a character's end.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // At most 64.
    out.push(end as u8);
    out.extend(&text.as_bytes()[..end]);
}

fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend(address.octets());
        }
    }
}

fn put_batch(out: &mut Vec<u8>, Batch { services, reals, pins }: &Batch) {
    for count in [services.len(), reals.len(), pins.len()] {
        // The sender sees to it that a batch fits in a message.
        out.extend((count as u16).to_be_bytes());
    }
    for ToldService { vip, ports, protocol, zone, owners } in services {
        put_address(out, *vip);
        out.extend(ports.0.to_be_bytes());
        out.extend(ports.1.to_be_bytes());
        out.push(*protocol);
        put_text(out, zone.as_str());
        out.extend(owners.to_be_bytes());
    }
    for ToldReal { pool, address } in reals {
        put_text(out, pool);
        put_address(out, *address);
    }
    for ToldPin { set, print, service, real, age, confirmed, off_ring } in pins {
        let flag = |is: bool, flag: u16| if is { flag } else { 0 };
        out.extend(set.to_be_bytes());
        out.extend(print.to_be_bytes());
        out.extend(service.to_be_bytes());
        out.extend(real.to_be_bytes());
        out.extend((age & AGE | flag(*confirmed, CONFIRMED) | flag(*off_ring, OFF_RING)).to_be_bytes());
    }
}

/// Bytes not read yet.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(MessageError::Length)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, MessageError> {
        self.bytes().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, MessageError> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// Without control characters: it may come to a log.
    fn text(&mut self) -> Result<String, MessageError> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.0.split_at_checked(length).ok_or(MessageError::Length)?;
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| MessageError::Field("text"))?;
        let odd = length > NAME_BYTES || text.chars().any(char::is_control);
        if odd { Err(MessageError::Field("text")) } else { Ok(text.to_owned()) }
    }

    fn address(&mut self) -> Result<IpAddr, MessageError> {
        match self.byte()? {
            4 => Ok(IpAddr::from(self.bytes::<4>()?)),
            6 => Ok(IpAddr::from(self.bytes::<16>()?)),
            _ => Err(MessageError::Field("address family")),
        }
    }

    fn opinion(&mut self) -> Result<Opinion, MessageError> {
        let all = [Verdict::Unknown, Verdict::Unchecked, Verdict::Up, Verdict::Down];
        let verdict = all.get(usize::from(self.byte()?)).copied().ok_or(MessageError::Field("verdict"))?;
        let milliseconds = self.u64()?;
        let age = (milliseconds != NO_PROBE).then(|| Duration::from_millis(milliseconds));
        Ok(Opinion { verdict, age })
    }

    /// Room is made only for what is there: the numbers in front may lie.
    fn batch(&mut self) -> Result<Batch, MessageError> {
        let [services, reals, pins] = [self.u16()?, self.u16()?, self.u16()?];
        let services = (0..services).map(|_| self.service()).collect::<Result<Vec<_>, _>>()?;
        let reals = (0..reals).map(|_| Ok(ToldReal { pool: self.text()?, address: self.address()? }));
        let reals = reals.collect::<Result<Vec<_>, MessageError>>()?;
        let pins = (0..pins).map(|_| self.pin(services.len(), reals.len())).collect::<Result<Vec<_>, _>>()?;
        Ok(Batch { services, reals, pins })
    }

    fn service(&mut self) -> Result<ToldService, MessageError> {
        let vip = self.address()?;
        let ports = (self.u16()?, self.u16()?);
        let protocol = self.byte()?;
        if ports.0 > ports.1 {
            return Err(MessageError::Field("range of ports"));
        }
        Protocol::new(protocol).ok_or(MessageError::Field("protocol"))?;
        let zone = Name::new(&self.text()?);
        Ok(ToldService { vip, ports, protocol, zone, owners: self.u64()? })
    }

    fn pin(&mut self, services: usize, reals: usize) -> Result<ToldPin, MessageError> {
        let (set, print, service, real, rest) = (self.u32()?, self.u32()?, self.u16()?, self.u16()?, self.u16()?);
        if print >> PRINT_BITS != 0 || rest & !(AGE | CONFIRMED | OFF_RING) != 0 {
            return Err(MessageError::Field("pin"));
        }
        if usize::from(service) >= services || usize::from(real) >= reals {
            return Err(MessageError::Field("pin's service or real server"));
        }
        let has = |flag: u16| rest & flag != 0;
        Ok(ToldPin { set, print, service, real, age: rest & AGE, confirmed: has(CONFIRMED), off_ring: has(OFF_RING) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch() -> Batch {
        let service = |last: u8, port| ToldService {
            vip: [10, 0, 0, last].into(),
            ports: (port, port + 2),
            protocol: 6,
            zone: Name::new("hz1"),
            owners: 7,
        };
        let v6: IpAddr = "fd66::100".parse().expect("it is one");
        let pin = |set, real, age, confirmed, off_ring| ToldPin {
            set,
            print: (1 << PRINT_BITS) - 1,
            service: 1,
            real,
            age,
            confirmed,
            off_ring,
        };
        Batch {
            services: vec![service(1, 80), ToldService { vip: v6, protocol: 17, ..service(2, 53) }],
            reals: vec![
                ToldReal { pool: "wéb".into(), address: v6 },
                ToldReal { pool: "db".into(), address: [10, 0, 0, 9].into() },
            ],
            pins: vec![pin(0, 0, 0, false, false), pin(u32::MAX, 1, 2047, true, false), pin(9, 1, 3, false, true)],
        }
    }

    fn all() -> Vec<Message> {
        let state = State { name: "lb1".into(), version: "0.1.0".into(), pins: 1024, seed: 1 << 63, rings: 5 };
        let opinion = |verdict, age| Message::Answer { number: 3, opinion: Opinion { verdict, age } };
        vec![
            Message::State(state),
            Message::Ping,
            Message::Pong,
            Message::Pins(batch()),
            Message::Pins(Batch::default()),
            Message::Question { number: u32::MAX, pool: "web".into(), address: [10, 0, 0, 1].into() },
            opinion(Verdict::Unknown, None),
            opinion(Verdict::Down, Some(Duration::from_millis(1500))),
        ]
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for message in all() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn whatever_is_cut_short_or_too_long_is_refused() {
        for message in all() {
            let bytes = message.encode();
            for length in 0..bytes.len() {
                assert!(Message::decode(&bytes[..length]).is_err(), "{length} bytes of {message:?}");
            }
            assert_eq!(Message::decode(&[&bytes[..], &[0]].concat()), Err(MessageError::Length), "{message:?}");
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_says_something_else() {
        for message in all() {
            let bytes = message.encode();
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(Message::decode(&flipped), Ok(message.clone()), "bit {bit}");
            }
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let with = |change: fn(&mut Batch)| {
            let mut batch = batch();
            change(&mut batch);
            Message::decode(&Message::Pins(batch).encode())
        };
        type Change = fn(&mut Batch);
        let rows: [(Change, &str); 5] = [
            (|batch| batch.pins[0].service = 2, "pin's service or real server"),
            (|batch| batch.pins[0].real = 2, "pin's service or real server"),
            (|batch| batch.pins[0].print = 1 << PRINT_BITS, "pin"),
            (|batch| batch.services[0].ports = (3, 2), "range of ports"),
            (|batch| batch.services[0].protocol = 1, "protocol"),
        ];
        for (change, expected) in rows {
            assert_eq!(with(change), Err(MessageError::Field(expected)));
        }
        assert_eq!(Message::decode(&[9]), Err(MessageError::Kind(9)));
        let odd = Message::Question { number: 1, pool: "a\nb".into(), address: [10, 0, 0, 1].into() };
        assert_eq!(Message::decode(&odd.encode()), Err(MessageError::Field("text")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn numbers_that_lie_take_no_room(kind in 1u8..7, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Message::decode(&[&[kind, 255, 255, 255, 255, 255, 255], &bytes[..]].concat());
        }
    }
}
