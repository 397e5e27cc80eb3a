//! The only place that makes packet pointers.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::programs::XdpContext;
use lb_common::wire::{Cursor, Frame, Word};

/// The frame of one XDP invocation.
pub struct XdpCursor {
    context: *mut xdp_md,
    data: usize,
    /// Where offsets that do not count tags begin.
    untagged: usize,
    tags: usize,
    data_end: usize,
}

impl XdpCursor {
    /// Reads both ends once; they are valid until its front is cut.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self::of(ctx.ctx)
    }

    /// The same of a bare context.
    #[inline(always)]
    pub fn of(context: *mut xdp_md) -> Self {
        // SAFETY: the context is valid while the program runs.
        let (data, data_end) = unsafe { ((*context).data as usize, (*context).data_end as usize) };
        Self { context, data, untagged: data, tags: 0, data_end }
    }

    /// The address of a `W` at `start`, if it lies within the frame. Written as the verifier wants it: the end of the access
    /// is compared with the end of the packet.
    #[inline(always)]
    fn pointer<W>(&self, start: usize) -> Option<*mut W> {
        if start + size_of::<W>() > self.data_end { None } else { Some(start as *mut W) }
    }

    #[inline(always)]
    fn load_at<W: Word>(&self, start: usize) -> Option<W> {
        let pointer = self.pointer::<W>(start)?;
        // SAFETY: in bounds by the check above, which the verifier repeats. The pointer may be unaligned: BPF on the
        // supported machines (x86-64, arm64) loads unaligned packet words, and the verifier refuses the program where
        // it does not; a byte-wise read would cost four to eight times the instructions.
        Some(unsafe { *pointer })
    }

    #[inline(always)]
    fn store_at<W: Word>(&mut self, start: usize, value: W) -> Option<()> {
        let pointer = self.pointer::<W>(start)?;
        // SAFETY: as in `load_at`; XDP programs own the packet's bytes while they run.
        unsafe { *pointer = value };
        Some(())
    }
}

/// The same number, of which the compiler knows nothing any more. What it could prove of it in a way that the verifier cannot
/// follow, it has to check.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: a register is copied to itself. No instruction at all would leave two line infos at one place, which the
    // kernel refuses.
    unsafe { asm!("{number} = {number}", number = inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

impl Cursor for XdpCursor {
    #[inline(always)]
    fn length(&self) -> usize {
        self.data_end - self.untagged
    }

    #[inline(always)]
    fn load<W: Word>(&self, offset: usize) -> Option<W> {
        self.load_at(self.untagged + offset)
    }

    #[inline(always)]
    fn load_checked<W: Word>(&self, offset: usize) -> Option<W> {
        self.load(opaque(offset))
    }

    #[inline(always)]
    fn store<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        self.store_at(self.untagged + offset, value)
    }
}

impl Frame for XdpCursor {
    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.context).ingress_ifindex }
    }

    #[inline(always)]
    fn tags(&self) -> usize {
        self.tags
    }

    #[inline(always)]
    fn set_tags(&mut self, bytes: usize) {
        self.tags = bytes;
        // One pointer for all that comes after: of another sum of the same the verifier would not know the bounds.
        self.untagged = opaque(self.data + bytes);
    }

    #[inline(always)]
    fn load_front<W: Word>(&self, offset: usize) -> Option<W> {
        self.load_at(self.data + offset)
    }

    #[inline(always)]
    fn store_front<W: Word>(&mut self, offset: usize, value: W) -> Option<()> {
        self.store_at(self.data + offset, value)
    }

    #[inline(always)]
    fn cut_front(&mut self, bytes: i32) -> Option<()> {
        // SAFETY: the context is valid while the program runs; all packet pointers are made anew from what it says then.
        unsafe {
            if bpf_xdp_adjust_head(self.context, bytes) != 0 {
                return None;
            }
            self.data = (*self.context).data as usize;
            self.data_end = (*self.context).data_end as usize;
        }
        Some(())
    }
}
