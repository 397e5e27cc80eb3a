//! Nothing of a lab stays behind.
//!
//! Everything that a lab makes is named after its process, and is noted here before it is made. Dropping the
//! [`Teardown`] removes it; a handler for SIGINT and SIGTERM removes all labs of the process; a new lab sweeps up what
//! processes that are dead have left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use lb_user::dataplane;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command::{output, run};
use super::{Namespace, eventually};

const PREFIX: &str = "xdlab";
const KEPT: &str = "xdkept";
const BPFFS: &str = "/sys/fs/bpf";

static NUMBER: AtomicU32 = AtomicU32::new(0);
static LABS: Mutex<Vec<Arc<Mutex<Things>>>> = Mutex::new(Vec::new());
static HANDLER: Once = Once::new();

/// What there is to remove.
#[derive(Debug)]
struct Things {
    name: String,
    directory: PathBuf,
}

/// A lab that stays, and how to find it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The common prefix of its namespaces.
    pub name: String,
    /// Its directory.
    pub directory: PathBuf,
}

/// The notes of one lab.
#[derive(Debug)]
pub struct Teardown {
    things: Arc<Mutex<Things>>,
    name: String,
    directory: PathBuf,
    keep: bool,
    built: bool,
}

impl Teardown {
    /// Sweeps, and starts taking notes.
    pub fn new(keep: bool) -> Result<Self> {
        install_handler();
        sweep()?;
        let prefix = if keep { KEPT } else { PREFIX };
        let name = format!("{prefix}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let things = Things { name: name.clone(), directory: directory.clone() };
        let things = Arc::new(Mutex::new(things));
        LABS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&things));
        Ok(Self { things, name, directory, keep, built: false })
    }

    /// The lab is whole: from here on it may be kept.
    pub fn built(&mut self) {
        self.built = true;
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn namespace(&self, machine: &str) -> Result<Namespace> {
        Namespace::create(format!("{}-{machine}", self.name))
    }

    /// Where this lab may pin things.
    pub fn pin_dir(&self) -> PathBuf {
        Path::new(BPFFS).join(&self.name)
    }

    /// A path to pin one thing at.
    pub fn pin(&self, name: &str) -> Result<PathBuf> {
        let dir = self.pin_dir();
        if fs::create_dir_all(&dir).is_err() {
            run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))?;
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(dir.join(name))
    }
}

impl Drop for Teardown {
    fn drop(&mut self) {
        if !(self.keep && self.built) {
            self.things.lock().unwrap_or_else(PoisonError::into_inner).remove();
        }
    }
}

impl Things {
    /// As much as can be; complaints go to stderr, since there may be another error on its way already.
    fn remove(&mut self) {
        remove_named(&self.name);
        if self.directory.exists()
            && let Err(error) = fs::remove_dir_all(&self.directory)
        {
            eprintln!("lab: cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// Namespaces and pins whose name starts like this.
fn remove_named(name: &str) {
    let pins = Path::new(BPFFS).join(name);
    let outcome = namespaces(name).and_then(|namespaces| {
        namespaces.iter().try_for_each(|namespace| end_processes(namespace))?;
        remove_pins(&pins)?;
        for namespace in namespaces {
            run(Command::new("ip").args(["netns", "delete", &namespace]))?;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        eprintln!("lab: cannot take {name} down: {error:#}");
    }
}

/// Whoever runs in a machine of the lab was started by the lab, or by what it started (nginx's workers).
fn end_processes(namespace: &str) -> Result<()> {
    let pids = || output(Command::new("ip").args(["netns", "pids", namespace]));
    for pid in pids()?.lines() {
        match kill(Pid::from_raw(pid.trim().parse()?), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot end process {pid}")),
        }
    }
    eventually(Duration::from_secs(10), "all processes of the lab have ended", || Ok(pids()?.is_empty().then_some(())))
}

/// A process counts as ended when its first thread has; the others hold its files for a moment yet.
fn detach(pin_dir: &Path) -> Result<()> {
    let mut last = None;
    let detached = || {
        last = dataplane::detach(pin_dir).err();
        Ok(last.is_none().then_some(()))
    };
    let outcome = eventually(Duration::from_secs(2), "the pins are free", detached);
    outcome.map_err(|error| last.map_or(error, Into::into))
}

fn remove_pins(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // What a director has pinned is in a directory of its own.
        match entry.file_type()?.is_dir() {
            true => detach(&entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    fs::remove_dir(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

/// The names of labs of one kind, whatever is left of them.
fn namespaces(prefix: &str) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(Vec::new()) };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.filter(|name| name.as_ref().map_or(true, |name| name.starts_with(prefix))).collect()
}

/// The labs that are there: "xdlab123-0" of "xdlab123-0-client".
fn labs(prefix: &str) -> Result<Vec<String>> {
    let places = [Path::new(BPFFS).to_path_buf(), std::env::temp_dir()];
    let entries = places.into_iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
    let left = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let all = namespaces(prefix)?.into_iter().chain(left.filter(|name| name.starts_with(prefix)));
    let mut labs: Vec<String> = all.map(|name| name.splitn(3, '-').take(2).collect::<Vec<_>>().join("-")).collect();
    labs.sort();
    labs.dedup();
    Ok(labs)
}

/// Removes the labs of processes that are no more.
fn sweep() -> Result<()> {
    for lab in labs(PREFIX)? {
        let pid = lab[PREFIX.len()..].split('-').next().and_then(|pid| pid.parse().ok());
        if pid.is_none_or(|pid: i32| kill(Pid::from_raw(pid), None).is_err()) {
            let directory = std::env::temp_dir().join(&lab);
            Things { name: lab, directory }.remove();
        }
    }
    Ok(())
}

/// Takes down every lab that was kept.
///
/// # Errors
/// If the labs cannot be listed.
pub fn sweep_kept() -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for name in labs(KEPT)? {
        let directory = std::env::temp_dir().join(&name);
        Things { name: name.clone(), directory: directory.clone() }.remove();
        kept.push(Kept { name, directory });
    }
    Ok(kept)
}

/// Ctrl-C and SIGTERM take all labs of this process down, then end it as the signal would have.
fn install_handler() {
    HANDLER.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            eprintln!("lab: interrupted, taking the lab down");
            let labs = LABS.lock().unwrap_or_else(PoisonError::into_inner);
            for lab in labs.iter() {
                lab.lock().unwrap_or_else(PoisonError::into_inner).remove();
            }
            std::process::exit(130);
        });
        if let Err(error) = installed {
            eprintln!("lab: Ctrl-C will leave namespaces behind: {error}");
        }
    });
}
