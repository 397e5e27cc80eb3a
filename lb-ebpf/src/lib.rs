//! The kernel's shell around the datapath: packet pointers ([`cursor`]), maps ([`maps`]), what leaves
//! this machine ([`skb`]), and the panic handler.
#![no_std]
#![feature(asm_experimental_arch)]

pub mod cursor;
pub mod maps;
pub mod program;
pub mod skb;

/// Never reached. A loop, because the verifier refuses a program in which it could be: a panic that the compiler
/// did not rule out is found when the program is loaded, not when a packet hits it.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
