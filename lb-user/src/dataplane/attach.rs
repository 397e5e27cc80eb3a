//! Attaching to interfaces, by links that are pinned: the program runs on when the daemon is gone.

use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode};

use super::kernel::{Kernel, LoadError};
use super::pins::{PinError, Pins};
use crate::config::XdpMode;

/// How the program runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the kernel's stack.
    Generic,
}

impl Mode {
    /// As logs and pins name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn aya(self) -> AyaMode {
        match self {
            Self::Native => AyaMode::Driver,
            Self::Generic => AyaMode::Skb,
        }
    }

    /// What to try, in order.
    const fn wanted(mode: XdpMode) -> &'static [Self] {
        match mode {
            XdpMode::Auto => &[Self::Native, Self::Generic],
            XdpMode::Native => &[Self::Native],
            XdpMode::Generic => &[Self::Generic],
        }
    }
}

/// Why an interface could not be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The program cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel refused every mode asked for.
    #[error(
        "cannot attach to {interface} in {} mode{}", mode.name(),
        if is_busy(source) {
            format!(": another XDP program runs there; `ip link show {interface}` names it, `bpftool link` says who holds it")
        } else {
            String::new()
        }
    )]
    Interface {
        /// Which.
        interface: String,
        /// The mode that was tried last.
        mode: Mode,
        /// What the kernel said.
        source: ProgramError,
    },
    /// The link cannot be pinned.
    #[error("cannot pin the link of {interface}")]
    Pin {
        /// Which.
        interface: String,
        /// What the kernel said.
        source: LinkPinError,
    },
    /// The pin directory cannot be put in order.
    #[error(transparent)]
    Pins(#[from] PinError),
}

/// Why a link cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LinkPinError {
    /// It is no BPF link.
    #[error("the kernel has no BPF links for XDP; 5.9 or later is needed")]
    NoLink(#[from] LinkError),
    /// The pin itself failed.
    #[error(transparent)]
    Pin(#[from] aya::pin::PinError),
}

/// What became of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Its name.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// The mode it got.
    pub mode: Mode,
    /// Why it is not in native mode, although that was asked for first.
    pub native_refused: Option<String>,
    /// Whether a program that a former daemon left was replaced, without a packet noticing.
    pub adopted: bool,
}

impl Kernel {
    /// Runs the program on each interface (name, index), then tidies the pin directory. Where a former daemon's link
    /// is pinned its program is swapped atomically. Says what was attached, and the first error: one interface that
    /// fails does not keep the others from being attached.
    pub fn attach(&mut self, interfaces: &[(String, u32)], mode: XdpMode) -> (Vec<Attached>, Result<(), AttachError>) {
        let (mut attached, mut links, mut new) = (Vec::new(), Vec::new(), Vec::new());
        let (program, pins) = match self.program_and_pins() {
            Ok(both) => both,
            Err(error) => return (attached, Err(error.into())),
        };
        let mut outcome = Ok(());
        for (interface, index) in interfaces {
            match attach_one(program, pins.as_ref(), interface, *index, mode) {
                Ok((one, link)) => {
                    new.extend(link.clone().filter(|_| !one.adopted));
                    attached.push(one);
                    links.extend(link);
                }
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        if let Some(pins) = pins.filter(|_| outcome.is_ok()) {
            outcome = pins.settle(&links).map_err(AttachError::from);
        }
        self.new_links = new;
        (attached, outcome)
    }

    /// Takes the program off the interfaces on which there was none before the last [`attach`](Self::attach).
    ///
    /// # Errors
    /// The first removal that failed.
    pub fn detach_new(&mut self) -> std::io::Result<()> {
        self.new_links.drain(..).try_for_each(std::fs::remove_file)
    }

    /// Takes the program off all interfaces and removes its maps.
    ///
    /// # Errors
    /// The first removal that failed.
    pub fn detach(mut self) -> Result<Vec<String>, PinError> {
        self.program_and_pins().ok().and_then(|(_, pins)| pins).map_or(Ok(Vec::new()), |pins| pins.remove_all())
    }
}

fn attach_one(
    program: &mut Xdp,
    pins: Option<&Pins>,
    interface: &str,
    index: u32,
    wanted: XdpMode,
) -> Result<(Attached, Option<PathBuf>), AttachError> {
    let mut refused: Vec<(Mode, ProgramError)> = Vec::new();
    for &mode in Mode::wanted(wanted) {
        let path = pins.map(|pins| pins.link_path(index, mode.name()));
        let adopted = path.as_ref().is_some_and(|path| adopt(program, path));
        if !adopted {
            let attached = match program.attach(interface, mode.aya()) {
                Err(_) if pins.is_some_and(|pins| let_go_of_others(pins, index, wanted)) => {
                    program.attach(interface, mode.aya())
                }
                attached => attached,
            };
            let id = match attached {
                Ok(id) => id,
                Err(error) => {
                    refused.push((mode, error));
                    continue;
                }
            };
            // Without pins the link stays with the program, and goes with it.
            if let Some(path) = &path {
                let link = program.take_link(id).map_err(|source| refuse(interface, mode, source))?;
                pin(link, path).map_err(|source| AttachError::Pin { interface: interface.into(), source })?;
            }
        }
        let native_refused = refused.first().map(|(_, error)| causes(error));
        return Ok((Attached { interface: interface.into(), index, mode, adopted, native_refused }, path));
    }
    // The first refusal is the telling one: generic mode is refused because native mode is taken, not the other way.
    let (mode, source) = refused.into_iter().next().unwrap_or((Mode::Native, ProgramError::NotLoaded));
    Err(refuse(interface, mode, source))
}

/// An interface has one program, whatever its mode. Takes away what a former daemon attached in a mode that is not wanted any more;
/// says whether there was something.
fn let_go_of_others(pins: &Pins, index: u32, wanted: XdpMode) -> bool {
    let others = [Mode::Native, Mode::Generic].into_iter().filter(|other| !Mode::wanted(wanted).contains(other));
    let let_go = |other: Mode| {
        let link = PinnedLink::from_pin(pins.link_path(index, other.name()));
        link.is_ok_and(|link| link.unpin().is_ok())
    };
    others.filter(|other| let_go(*other)).count() > 0
}

/// An error with what is behind it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let behind = std::iter::successors(Some(error), |error| error.source());
    behind.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn refuse(interface: &str, mode: Mode, source: ProgramError) -> AttachError {
    AttachError::Interface { interface: interface.into(), mode, source }
}

/// Swaps the program under the link pinned at `path`. False if there is none, or none that still has its interface;
/// then the pin is gone.
fn adopt(program: &mut Xdp, path: &Path) -> bool {
    let Ok(pinned) = PinnedLink::from_pin(path) else { return false };
    let Ok(link) = XdpLink::try_from(FdLink::from(pinned)) else { return false };
    match program.attach_to_link(link).and_then(|id| program.take_link(id)) {
        // The pin holds the link from here on; what we have is one more reference to it.
        Ok(link) => {
            drop(link);
            true
        }
        Err(error) => {
            tracing::info!(%error, pin = %path.display(), "a former daemon's link is of no use any more");
            false
        }
    }
}

fn pin(link: XdpLink, path: &Path) -> Result<(), LinkPinError> {
    let link: FdLink = link.try_into()?;
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::info!(%error, pin = %path.display(), "cannot remove a former daemon's pin");
    }
    link.pin(path)?;
    Ok(())
}

fn is_busy(error: &ProgramError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return matches!(io.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
        }
        cause = error.source();
    }
    false
}
