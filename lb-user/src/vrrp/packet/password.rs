//! The password of version 2.

use std::fmt;
use std::hint::black_box;

/// Eight bytes, filled up with zeros (RFC 2338 section 5.3.10). Never shown in logs.
#[derive(Clone, Copy)]
pub struct Password([u8; Self::BYTES]);

impl Password {
    /// The length on the wire.
    pub const BYTES: usize = 8;

    /// Takes the first eight bytes, as keepalived does with longer ones.
    pub fn new(text: &[u8]) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// As they go on the wire.
    pub const fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl PartialEq for Password {
    /// Takes the same time wherever the first difference is, so that a guess is not told how good it was.
    fn eq(&self, other: &Self) -> bool {
        black_box(self.0.iter().zip(other.0).fold(0, |different, (a, b)| different | (a ^ b))) == 0
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_one_is_filled_up_and_a_long_one_cut() {
        assert_eq!(Password::new(b"1111").bytes(), b"1111\0\0\0\0");
        assert_eq!(Password::new(b"123456789"), Password::new(b"12345678"));
        assert_ne!(Password::new(b"1111"), Password::new(b"1112"));
    }

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Password::new(b"secret")), "Password(..)");
    }
}
