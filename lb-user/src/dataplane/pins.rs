//! What outlives the daemon: the pin directory.
//!
//! ```text
//! PIN_DIR/maps-V-N-S-R-B-P-A/NAME        the maps of ABI version V with N reasons, and the five limits
//! PIN_DIR/current -> maps-V-N-S-R-B-P-A  those that packets see
//! PIN_DIR/link-INDEX-MODE                one for each interface, by its index
//! PIN_DIR/egress-INDEX                   the same of what leaves it, if checks go by a vip
//! ```
//!
//! Other limits or another ABI make another directory: a new daemon loads beside the old maps, fills its own, and then
//! swaps the program under each link, so that no packet meets half of either.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, os::unix::fs::symlink};

use lb_common::abi::VERSION;
use lb_common::reason::Reason;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::egress;
use crate::config::Limits;

const CURRENT: &str = "current";
const MAPS: &str = "maps-";
const LINK: &str = "link-";
pub(super) const EGRESS: &str = "egress-";
/// Where everybody mounts the BPF file system.
const BPFFS: &str = "/sys/fs/bpf";

/// Why a pin directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// There is no BPF file system where the directory is to be.
    #[error("{} is not on a BPF file system; mount one (mount -t bpf bpf {BPFFS}) or set director.pin_dir", .0.display())]
    NotBpffs(PathBuf),
    /// Two daemons would undo each other's work.
    #[error("a running xdirector has {}; stop it with SIGTERM first, or set another director.pin_dir", .0.display())]
    Taken(PathBuf),
    /// An operation on the directory failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The pin directory of one director, and which maps in it are this daemon's.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
    maps: OsString,
    /// Held as long as the daemon lives; the kernel lets go of it when the process ends, however it does.
    _lock: Arc<Flock<File>>,
}

impl Pins {
    /// Makes the directories, and mounts the BPF file system in its usual place if nobody has.
    pub fn open(dir: &Path, limits: &Limits) -> Result<Self, PinError> {
        ensure_bpffs(dir)?;
        let Limits { services, reals, ring_buckets, pins, access_prefixes } = limits;
        let reasons = Reason::COUNT;
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        let ours = Self {
            _lock: Arc::new(lock(dir)?),
            dir: dir.into(),
            maps: format!("{MAPS}{VERSION}-{reasons}-{services}-{reals}-{ring_buckets}-{pins}-{access_prefixes}")
                .into(),
        };
        let maps = ours.dir.join(&ours.maps);
        fs::create_dir_all(&maps).map_err(failed("make", &maps))?;
        Ok(ours)
    }

    /// Where a map is pinned.
    pub fn map_path(&self, name: &str) -> PathBuf {
        self.dir.join(&self.maps).join(name)
    }

    /// Where the link of an interface is pinned. By its index: a BPF file system takes no dot, which a name may have.
    pub fn link_path(&self, index: u32, mode: &str) -> PathBuf {
        self.dir.join(format!("{LINK}{index}-{mode}"))
    }

    /// Where what is attached to what leaves an interface is pinned.
    pub fn egress_path(&self, index: u32) -> PathBuf {
        self.dir.join(format!("{EGRESS}{index}"))
    }

    /// Takes away all of that kind but these.
    pub fn keep_egress(&self, kept: &[PathBuf]) -> Result<(), PinError> {
        let mut all =
            entries(&self.dir)?.into_iter().filter(|(name, path)| name.starts_with(EGRESS) && !kept.contains(path));
        all.try_for_each(|(_, path)| remove(&path))
    }

    /// After the links run this daemon's program: lets others find its maps, and removes links and maps of before.
    pub fn settle(&self, links: &[PathBuf]) -> Result<(), PinError> {
        self.point_current()?;
        for (name, path) in entries(&self.dir)? {
            let stale_maps = name.starts_with(MAPS) && *name != *self.maps;
            let stale_link = name.starts_with(LINK) && !links.contains(&path);
            if stale_maps || stale_link {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn point_current(&self) -> Result<(), PinError> {
        let current = self.dir.join(CURRENT);
        if fs::read_link(&current).is_ok_and(|target| target == Path::new(&self.maps)) {
            return Ok(());
        }
        if current.is_symlink() {
            remove(&current)?;
        }
        symlink(&self.maps, &current).map_err(failed("make", &current))
    }

    /// Removes everything.
    pub fn remove_all(&self) -> Result<Vec<String>, PinError> {
        remove_pins(&self.dir)
    }
}

/// The maps that packets see, under a pin directory.
pub(super) fn current_map(dir: &Path, name: &str) -> PathBuf {
    dir.join(CURRENT).join(name)
}

/// Removes the links, and so detaches the program, and the maps that a daemon left under `pin_dir`; says what it
/// removed. A directory that is not there is no error.
///
/// # Errors
/// The first removal that failed; what was removed before stays removed. Nothing is removed under a running daemon.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, PinError> {
    if !pin_dir.try_exists().map_err(failed("look for", pin_dir))? {
        return Ok(Vec::new());
    }
    let _lock = lock(pin_dir)?;
    remove_pins(pin_dir)
}

fn lock(dir: &Path) -> Result<Flock<File>, PinError> {
    let file = File::open(dir).map_err(failed("open", dir))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => PinError::Taken(dir.into()),
        errno => failed("lock", dir)(errno.into()),
    })
}

fn remove_pins(pin_dir: &Path) -> Result<Vec<String>, PinError> {
    let mut ours = entries(pin_dir)?;
    let is_ours = |name: &str| [LINK, MAPS, EGRESS].iter().any(|kind| name.starts_with(kind)) || name == CURRENT;
    ours.retain(|(name, _)| is_ours(name));
    ours.sort(); // "current" first, then egress and links, then maps: nothing forwards without its maps
    let mut removed = Vec::new();
    for (name, path) in ours {
        remove(&path)?;
        removed.push(name);
    }
    // Others may keep something here, and the mount point itself cannot go.
    if let Err(error) = fs::remove_dir(pin_dir) {
        tracing::debug!(%error, dir = %pin_dir.display(), "the pin directory stays");
    }
    Ok(removed)
}

fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>, PinError> {
    let read = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    fs::read_dir(dir).and_then(|all| all.map(read).collect()).map_err(failed("list", dir))
}

fn remove(path: &Path) -> Result<(), PinError> {
    if path.is_dir() && !path.is_symlink() {
        for (_, inner) in entries(path)? {
            fs::remove_file(&inner).map_err(failed("remove", &inner))?;
        }
        fs::remove_dir(path).map_err(failed("remove", path))
    } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(EGRESS)) {
        egress::remove(path).map_err(failed("remove", path))
    } else {
        fs::remove_file(path).map_err(failed("remove", path))
    }
}

fn ensure_bpffs(dir: &Path) -> Result<(), PinError> {
    if is_bpffs(dir) {
        return Ok(());
    }
    if dir.starts_with(BPFFS) && !is_bpffs(Path::new(BPFFS)) {
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(|errno| failed("mount a BPF file system on", Path::new(BPFFS))(errno.into()))?;
    }
    if is_bpffs(dir) { Ok(()) } else { Err(PinError::NotBpffs(dir.into())) }
}

/// Asks the nearest ancestor that exists.
fn is_bpffs(dir: &Path) -> bool {
    let existing = dir.ancestors().find(|ancestor| ancestor.exists());
    existing.is_some_and(|path| statfs(path).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinError + use<> {
    let path = path.to_path_buf();
    move |source| PinError::Io { action, path, source }
}
