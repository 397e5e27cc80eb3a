//! What is counted for a service and for a real server.

/// Packets and bytes forwarded. One for each CPU; the sum is the count. Bytes are whole frames without the FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Frames forwarded.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);
