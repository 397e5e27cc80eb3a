//! Packet bytes: how the pipeline reads and writes them, and where the fields lie.

mod headers;

pub use headers::{Arp, Ethernet, Icmp, Ipv4, Ipv6, Ports, TcpFlags, Vlan, transport_header};

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

/// A frame as a whole: where it came in, its addresses, and the tags behind them. The offsets of [`Cursor`] do not count the
/// tags, so that every header behind them is where it is without any.
pub trait Frame: Cursor {
    /// Index of the interface that it came in by.
    fn interface(&self) -> u32;

    /// Bytes of tags, as set.
    fn tags(&self) -> usize;

    /// Says how many bytes of tags there are: 0 at first.
    fn set_tags(&mut self, bytes: usize);

    /// As [`Cursor::load`], from the true beginning.
    fn load_front<W: Word>(&self, offset: usize) -> Option<W>;

    /// As [`Cursor::store`], from the true beginning.
    fn store_front<W: Word>(&mut self, offset: usize, value: W) -> Option<()>;

    /// Takes so many bytes off its front, or puts them before it if negative; what they then hold is undefined. `None` if
    /// there is no room: then all is as it was.
    fn cut_front(&mut self, bytes: i32) -> Option<()>;
}

/// A frame in memory.
#[derive(Debug, PartialEq, Eq)]
pub struct Buffer<'a> {
    /// All of it, with room before the frame.
    bytes: &'a mut [u8],
    start: usize,
    tags: usize,
    interface: u32,
}

impl<'a> Buffer<'a> {
    /// The frame that begins at `start`, the bytes before are room to grow.
    pub fn new(bytes: &'a mut [u8], start: usize, interface: u32) -> Self {
        Self { start: start.min(bytes.len()), tags: 0, bytes, interface }
    }

    /// The frame as it is now.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Cursor for Buffer<'_> {
    fn length(&self) -> usize {
        self.frame().len() - self.tags
    }

    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        self.load_front(offset.checked_add(self.tags)?)
    }

    fn store<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        self.store_front(offset.checked_add(self.tags)?, value)
    }
}

impl Frame for Buffer<'_> {
    fn interface(&self) -> u32 {
        self.interface
    }

    fn tags(&self) -> usize {
        self.tags
    }

    fn set_tags(&mut self, bytes: usize) {
        self.tags = bytes;
    }

    fn load_front<W: Word>(&self, offset: usize) -> Option<W> {
        self.frame().load(offset)
    }

    fn store_front<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        self.bytes[self.start..].store(offset, value)
    }

    fn cut_front(&mut self, bytes: i32) -> Option<()> {
        let start = self.start.checked_add_signed(bytes as isize)?;
        // As the kernel has it: an Ethernet header must be left.
        (start + Ethernet::LEN <= self.bytes.len()).then_some(())?;
        self.start = start;
        Some(())
    }
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

    #[test]
    fn a_frame_grows_and_shrinks_at_its_front() {
        let mut bytes = [7; 24];
        let mut frame = Buffer::new(&mut bytes, 4, 1);
        assert_eq!(frame.cut_front(-5), None);
        assert_eq!(frame.cut_front(-4), Some(()));
        assert_eq!(frame.length(), 24);
        assert_eq!(frame.cut_front(10), Some(()));
        assert_eq!(frame.cut_front(1), None);
        assert_eq!(frame.frame(), [7; 14]);
    }
}
