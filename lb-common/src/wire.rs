//! Packet bytes: how the pipeline reads and writes them, and where the fields lie.

mod headers;

pub use headers::{Ethernet, Icmp, Ipv4, Ipv6, Ports, transport_header};

/// An unsigned integer that a [`Cursor`] loads and stores, in the order of a little-endian machine: the first byte of
/// the packet is the lowest. Fields in network order are compared as they stand and never swapped.
pub trait Word: Copy + sealed::Sealed {
    /// From as many bytes as the type has; the slice is of that length.
    fn from_slice(bytes: &[u8]) -> Option<Self>;
    /// Into as many bytes as the type has; the slice is of that length.
    fn write_to(self, bytes: &mut [u8]);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! words {
    ($($word:ident),+) => {$(
        impl sealed::Sealed for $word {}
        impl Word for $word {
            #[inline(always)]
            fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }

            #[inline(always)]
            fn write_to(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
        }
    )+};
}

words!(u8, u16, u32, u64);

/// The bytes of one Ethernet frame, from its destination address on, without the FCS.
pub trait Cursor {
    /// Bytes in the frame.
    fn length(&self) -> usize;

    /// `None` if the word does not lie wholly within the frame.
    fn load<W: Word>(&self, offset: usize) -> Option<W>;

    /// The same, for an offset whose bounds the compiler could derive from an earlier check in a way that the kernel's
    /// verifier cannot follow: the check is made in any case.
    #[inline(always)]
    fn load_checked<W: Word>(&self, offset: usize) -> Option<W> {
        self.load(offset)
    }

    /// Writes nothing and says `None` if the word does not lie wholly within the frame.
    fn store<W: Word>(&mut self, offset: usize, value: W) -> Option<()>;
}

impl Cursor for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        W::from_slice(self.get(offset..offset.checked_add(size_of::<W>())?)?)
    }

    fn store<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        let bytes = self.get_mut(offset..offset.checked_add(size_of::<W>())?)?;
        value.write_to(bytes);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_stores_within_the_frame_only() {
        let frame: &mut [u8] = &mut [1, 2, 3, 4];
        assert_eq!(frame.load::<u16>(2), Some(0x0403));
        assert_eq!(frame.load::<u16>(3), None);
        assert_eq!(frame.load::<u8>(usize::MAX), None);
        assert_eq!(frame.store(3, 0u16), None);
        assert_eq!(frame.store(0, 0x0908u16), Some(()));
        assert_eq!(frame, [8, 9, 3, 4]);
    }
}
