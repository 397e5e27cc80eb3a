//! Frames of keepalived and FRR, as they were on the wire.

use std::collections::BTreeMap;

const TEXT: &str = include_str!("../../../tests/fixtures/vrrp/captured.txt");

/// One captured frame, and what the capture says of it.
pub struct Frame {
    /// Whose, and what it is: the heading.
    pub title: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// The decoded fields, by name.
    fields: BTreeMap<String, String>,
}

impl Frame {
    /// A field of the description.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("{} has no field {name}", self.title))
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> u16 {
        self.field(name).parse().unwrap_or_else(|_| panic!("{}: {name} is no number", self.title))
    }

    /// What the network layer gets.
    pub fn packet(&self) -> &[u8] {
        &self.bytes[14..]
    }

    /// Whether it is over IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.bytes[12..14] == [0x86, 0xdd]
    }
}

/// All frames whose heading ends so.
pub fn frames(kind: &str) -> Vec<Frame> {
    let frames: Vec<Frame> =
        TEXT.split("### ").skip(1).map(frame).filter(|frame| frame.title.ends_with(kind)).collect();
    assert!(!frames.is_empty(), "no {kind}");
    frames
}

fn frame(section: &str) -> Frame {
    let mut lines = section.lines();
    let title = lines.next().expect("a heading").to_owned();
    let (described, rest): (Vec<_>, Vec<_>) =
        lines.take_while(|line| !line.is_empty()).partition(|line| line.starts_with('#'));
    let words = described.iter().flat_map(|line| line.split_whitespace());
    let fields = words.filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
    // The first of a name counts: later ones explain checksums.
    let mut known = BTreeMap::new();
    for (name, value) in fields {
        known.entry(name).or_insert(value);
    }
    Frame { bytes: bytes(rest.first().unwrap_or_else(|| panic!("{title} has no bytes"))), title, fields: known }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).expect("a hex digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
