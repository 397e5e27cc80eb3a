//! The virtual router redundancy protocol: which of several directors answers for a vip.
//!
//! Version 2 is RFC 3768 with the plain passwords of RFC 2338, as most set-ups in the field have it; version 3 is RFC 5798
//! and RFC 9568, for IPv4 and IPv6. Nearly everything in here is a function of what it is given: [`packet`] turns bytes into
//! adverts and back, [`announce`] builds the frames that tell the neighbours where a vip lives, and
//! [`machine`] decides, for one virtual router, who is master. [`priority`]
//! and [`group`] are what makes a machine's inputs of other things. Sockets, the thread and the clock are the [`driver`]'s.

pub mod announce;
mod checksum;
pub mod driver;
pub mod group;
pub mod machine;
pub mod packet;
pub mod priority;

#[cfg(test)]
mod tests;
