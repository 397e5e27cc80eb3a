//! A BPF array as shared memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;

use aya::maps::{MapData, MapError};
use memmap2::{MmapOptions, MmapRaw};

/// The words of one `BPF_F_MMAPABLE` array. The kernel keeps the memory as long as the mapping lives.
#[derive(Debug)]
pub struct Mapped {
    memory: MmapRaw,
    words: usize,
}

impl Mapped {
    /// Maps the whole array, for reading and writing.
    ///
    /// # Errors
    /// The kernel's: the map is no mappable array, or was pinned by someone else.
    pub fn new(map: &MapData) -> Result<Self, MapError> {
        let info = map.info()?;
        let bytes = info.value_size() as usize * info.max_entries() as usize;
        let memory = map_memory(map, bytes).map_err(MapError::IoError)?;
        Ok(Self { memory, words: bytes / 8 })
    }

    /// The same of a map that is pinned.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pinned(path: &Path) -> Result<Self, MapError> {
        Self::new(&MapData::from_pin(path)?)
    }

    /// All of them.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, `words * 8` bytes long and lives as long as `self`. The kernel and other
        // processes change it at any time, which atomics allow.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast::<AtomicU64>(), self.words) }
    }
}

fn map_memory(map: &MapData, bytes: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(bytes).map_raw(map.fd().as_fd().as_raw_fd())
}
