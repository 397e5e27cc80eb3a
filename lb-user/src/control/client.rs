//! The other end: for commands, which have nothing else to do meanwhile.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Answer, Failure, Outcome, Request, Response, VERSION};

/// A reload waits for MACs for a second; everything else is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// In bytes: ten times what the largest director could say.
const LONGEST: u64 = 64 << 20;

/// Why a daemon could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is none.
    #[error(
        "no daemon listens at {}: is `xdirector run` running, and is that its director.control_socket (--socket, or \
         --config)?", .0.display()
    )]
    Absent(PathBuf),
    /// The socket is not for everybody.
    #[error("you may not use {}: be root, or in the group xdirector", .0.display())]
    Forbidden(PathBuf),
    /// It is there, but says nothing.
    #[error("the daemon at {} has not answered within {PATIENCE:?}", .0.display())]
    Silent(PathBuf),
    /// What it says is no answer.
    #[error("what listens at {} does not speak version {VERSION} of the protocol: {problem}", path.display())]
    Nonsense {
        /// Where.
        path: PathBuf,
        /// What is wrong with what it says.
        problem: String,
    },
    /// The connection failed.
    #[error("cannot talk to the daemon at {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// It was asked, and refused.
    #[error("{}", .0.message)]
    Refused(Failure),
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// To the daemon that listens at `path`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| failed(path, error))?;
        let patience = Some(PATIENCE);
        stream
            .set_read_timeout(patience)
            .and_then(|()| stream.set_write_timeout(patience))
            .map_err(|error| failed(path, error))?;
        Ok(Self { path: path.into(), stream: BufReader::new(stream) })
    }

    /// Asks, and waits. What was done comes with what else should be known.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask(&mut self, request: &Request) -> Result<(Answer, Vec<String>), ClientError> {
        let line = request.encode() + "\n";
        let mut answer = String::new();
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        // One that was turned away may have been told why.
        let read = (&mut self.stream).take(LONGEST).read_line(&mut answer);
        if !answer.ends_with('\n') {
            let error = sent.err().or(read.err()).unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
            return Err(failed(&self.path, error));
        }
        match Response::decode(&answer) {
            Ok(Response { outcome: Outcome::Ok(answer), warnings, .. }) => Ok((answer, warnings)),
            Ok(Response { outcome: Outcome::Error(failure), .. }) => Err(ClientError::Refused(failure)),
            Err(problem) => Err(ClientError::Nonsense { path: self.path.clone(), problem }),
        }
    }
}

fn failed(path: &Path, error: io::Error) -> ClientError {
    let path = path.to_path_buf();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Absent(path),
        io::ErrorKind::PermissionDenied => ClientError::Forbidden(path),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent(path),
        _ => ClientError::Io(path, error),
    }
}
