//! Texts in a check that mean something: statuses, patterns, bytes, secrets.

use std::fmt;
use std::ops::RangeInclusive;

use regex::bytes::{Regex, RegexBuilder};

/// HTTP statuses, as ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCodes(Vec<RangeInclusive<u16>>);

impl StatusCodes {
    /// One range.
    pub fn from_range(range: RangeInclusive<u16>) -> Self {
        Self(vec![range])
    }

    /// "200-299,301": numbers and ranges of numbers from 100 to 599. `None` if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let ranges: Option<Vec<_>> = text.split(',').map(|part| status_range(part.trim())).collect();
        ranges.map(Self)
    }

    /// Whether this status is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse().ok().filter(|status| (100..=599).contains(status));
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

impl fmt::Display for StatusCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// A regular expression on bytes; equal if it is written the same.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// For text: `.` is a character.
    ///
    /// # Errors
    /// It is no regular expression; says where.
    pub fn text(pattern: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(pattern).build().map(Self)
    }

    /// For packets: `.` is any byte but a line feed, and `\xFF` the byte 255.
    ///
    /// # Errors
    /// It is no regular expression; says where.
    pub fn bytes(pattern: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(pattern).unicode(false).build().map(Self)
    }

    /// Whether it is found anywhere in there.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whom it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text with escapes to bytes: `\xNN`, `\n`, `\r`, `\t`, `\0` and `\\`. `None` if one is cut short or unknown.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, length) = if *first == b'\\' { escape(after)? } else { (*first, 0) };
        bytes.push(byte);
        rest = &after[length..];
    }
    Some(bytes)
}

/// What follows a backslash: its byte, and how long it is.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    match rest {
        [b'x', high, low, ..] => Some((hex_digit(*high)? << 4 | hex_digit(*low)?, 3)),
        [b'n', ..] => Some((b'\n', 1)),
        [b'r', ..] => Some((b'\r', 1)),
        [b't', ..] => Some((b'\t', 1)),
        [b'0', ..] => Some((0, 1)),
        [b'\\', ..] => Some((b'\\', 1)),
        _ => None,
    }
}

/// Pairs of hexadecimal digits, with or without spaces between them.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.bytes().filter(|byte| *byte != b' ').map(hex_digit).collect();
    let pairs = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        let codes = StatusCodes::parse("200-299, 301").expect("it is good");
        assert_eq!(codes.to_string(), "200-299,301");
        let of = |status| codes.contains(status);
        assert_eq!([200, 299, 300, 301, 302].map(of), [true, true, false, true, false]);
        for bad in ["", "99", "600", "300-200", "200-", "2xx", "200,,201"] {
            assert_eq!(StatusCodes::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn escapes_and_hex_are_bytes() {
        assert_eq!(unescape(r"a\x00\xfF\n\\").as_deref(), Some(&[b'a', 0, 255, b'\n', b'\\'][..]));
        assert_eq!(unhex("00 fF 1a").as_deref(), Some(&[0, 255, 26][..]));
        for bad in [r"\", r"\x1", r"\xgg", r"\q"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
        for bad in ["0", "0g", "0x00"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pattern_for_packets_sees_single_bytes() {
        assert!(Pattern::bytes(r"^\x00\xff").expect("it is good").matches(&[0, 255, 3]));
        assert!(!Pattern::bytes(r"^\x00\xff").expect("it is good").matches(&[1, 0, 255]));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", Secret::new("hunter2".into())).contains("hunter2"));
    }
}
