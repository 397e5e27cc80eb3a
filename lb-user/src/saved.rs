//! What outlives a restart on disk: small files in `director.state_dir`, each replaced whole.
//!
//! None of them is needed to start. One that cannot be read is set aside, and said to be.

mod discovered;
mod orders;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

pub use discovered::{Answer, Answers, DISCOVERED};
pub use orders::{ORDERS, Orders, Placed};
pub use writer::Writer;

/// The most that is read of one of them, in bytes; far beyond what any can have.
const LARGEST: u64 = 64 << 20;

/// A file that is kept could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct SaveError {
    /// What was being done.
    action: &'static str,
    /// To what.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// `director.state_dir`
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// What can be kept in a file.
pub trait Saved: Default {
    /// The file's text.
    fn encode(&self) -> String;

    /// From that text.
    ///
    /// # Errors
    /// What is wrong with it.
    fn decode(text: &str) -> Result<Self, String>;
}

impl StateDir {
    /// It need not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self(dir.into())
    }

    /// What was kept under a name; nothing if there is no such file. One that makes no sense is renamed to NAME.broken.
    pub fn load<T: Saved>(&self, name: &str) -> T {
        match self.read(name) {
            Ok(kept) => kept.unwrap_or_default(),
            Err(problem) => {
                let (file, aside) = (self.0.join(name), self.0.join(format!("{name}.broken")));
                let moved = match fs::rename(&file, &aside) {
                    Ok(()) => format!("it is now {}", aside.display()),
                    Err(error) => format!("and it cannot be set aside ({error})"),
                };
                warn!("{} is not taken: {problem}; {moved}, and nothing of it is known any more", file.display());
                T::default()
            }
        }
    }

    /// The same without touching anything.
    ///
    /// # Errors
    /// Why there is a file that cannot be read, in words.
    pub fn read<T: Saved>(&self, name: &str) -> Result<Option<T>, String> {
        let file = match File::open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(|error| error.to_string())?;
        T::decode(&text).map(Some)
    }

    /// Replaces a file at once: whoever looks, even after a loss of power, finds the old text or the new one.
    ///
    /// # Errors
    /// The system's; the old file is still there then.
    pub fn write(&self, name: &str, text: &str) -> Result<(), SaveError> {
        let Self(dir) = self;
        let (path, new) = (dir.join(name), dir.join(format!(".{name}.new")));
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        let mut options = OpenOptions::new();
        // Not for everybody: it says who works when.
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
        let mut file = file.map_err(failed("write", &new))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("replace", &path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SaveError + use<> {
    let path = path.to_path_buf();
    move |source| SaveError { action, path, source }
}

#[cfg(test)]
mod tests;
