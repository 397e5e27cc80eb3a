//! The only place that makes packet pointers.

use core::arch::asm;

use aya_ebpf::programs::XdpContext;
use lb_common::wire::{Cursor, Word};

/// The frame of one XDP invocation.
pub struct XdpCursor {
    data: usize,
    data_end: usize,
}

impl XdpCursor {
    /// Reads both ends once; they are valid until a helper moves the packet, which none here does.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { data: ctx.data(), data_end: ctx.data_end() }
    }

    /// The address of a `W` at `offset`, if it lies within the frame. Written as the verifier wants it: the end of the
    /// access is compared with the end of the packet.
    #[inline(always)]
    fn pointer<W>(&self, offset: usize) -> Option<*mut W> {
        let start = self.data + offset;
        if start + size_of::<W>() > self.data_end { None } else { Some(start as *mut W) }
    }
}

impl Cursor for XdpCursor {
    #[inline(always)]
    fn length(&self) -> usize {
        self.data_end - self.data
    }

    #[inline(always)]
    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        let pointer = self.pointer::<W>(offset)?;
        // SAFETY: in bounds by the check above, which the verifier repeats. The pointer may be unaligned: BPF on the
        // supported machines (x86-64, arm64) loads unaligned packet words, and the verifier refuses the program where
        // it does not; a byte-wise read would cost four to eight times the instructions.
        Some(unsafe { *pointer })
    }

    #[inline(always)]
    fn load_checked<W: Word>(&self, mut offset: usize) -> Option<W> {
        // SAFETY: a register is copied to itself; the compiler merely no longer knows what it knew of the offset. No
        // instruction at all would leave two line infos at one place, which the kernel refuses.
        unsafe { asm!("{offset} = {offset}", offset = inout(reg) offset, options(nomem, nostack, preserves_flags)) };
        self.load(offset)
    }

    #[inline(always)]
    fn store<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        let pointer = self.pointer::<W>(offset)?;
        // SAFETY: as in `load`; XDP programs own the packet's bytes while they run.
        unsafe { *pointer = value };
        Some(())
    }
}
