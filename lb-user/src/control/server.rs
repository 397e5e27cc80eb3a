//! The daemon's end: a task that listens, and one for each client.
//!
//! No client delays the daemon or another client: each waits for its own turn in a bounded channel, has so long to ask and
//! so long to take its answer, and there are only so many at a time.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::line::read_line;
use super::{Failure, FailureKind, Request, Response};

/// Who may use the socket besides root.
const GROUP: &str = "xdirector";
/// Clients at a time.
const CLIENTS: usize = 64;
/// No request is longer, in bytes.
const LONGEST: usize = 16 << 10;
/// How long a client may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may take to read an answer.
const SLOWNESS: Duration = Duration::from_secs(10);
/// After a failure to accept, which has no cure but time.
const PAUSE: Duration = Duration::from_millis(100);

/// A request on its way to the daemon.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who asks, in words.
    pub who: String,
    /// Where the answer goes; whoever asked may have gone.
    pub reply: oneshot::Sender<Response>,
}

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Two daemons cannot have one socket.
    #[error(
        "another program listens at {}: if that is an xdirector with another pin_dir, give each its own \
         director.control_socket", .0.display()
    )]
    Taken(PathBuf),
    /// It would have to be removed, and may be somebody's.
    #[error("{} is there, and is no socket: move it away, or set director.control_socket", .0.display())]
    NoSocket(PathBuf),
    /// The system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Listens as long as it lives; its socket goes with it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    inode: u64,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // It may be a successor's by now.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, path = %self.path.display(), "the control socket stays");
        }
    }
}

impl Server {
    /// Listens at `path`; what a dead daemon left there is replaced. Call this within a runtime.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn start(path: &Path, calls: mpsc::Sender<Call>) -> Result<Self, ServerError> {
        make_directory(path)?;
        ensure_free(path)?;
        // It gets its name when it has its owner and its mode: there is no moment in which too many could use it.
        let unnamed = path.with_extension(format!("new-{}", std::process::id()));
        let listener = bind(&unnamed)?;
        restrict(&unnamed)?;
        let inode = fs::symlink_metadata(&unnamed).map_err(failed("look at", &unnamed))?.ino();
        fs::rename(&unnamed, path).map_err(failed("replace", path))?;
        let task = tokio::spawn(listen(listener, calls)).abort_handle();
        Ok(Self { path: path.into(), inode, task })
    }
}

fn make_directory(path: &Path) -> Result<(), ServerError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed("make", parent))
}

/// A socket that nobody listens at is no hindrance.
fn ensure_free(path: &Path) -> Result<(), ServerError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(ServerError::NoSocket(path.into())),
        Ok(_) => {}
    }
    let tried = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        // One that is frozen, and has a full queue, must not keep us waiting.
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    match tried.map_err(|error| error.kind()) {
        Err(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Ok(()) | Err(io::ErrorKind::WouldBlock) => Err(ServerError::Taken(path.into())),
        Err(kind) => Err(failed("look for a listener at", path)(kind.into())),
    }
}

fn bind(path: &Path) -> Result<UnixListener, ServerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(error)),
        _ => {}
    }
    UnixListener::bind(path).map_err(failed("listen at", path))
}

/// 0660, root and the group, if there is one.
fn restrict(path: &Path) -> Result<(), ServerError> {
    let group = match Group::from_name(GROUP) {
        Ok(group) => group.map(|group| group.gid),
        Err(errno) => {
            warn!("cannot look for the group {GROUP} ({errno}); only root may use {}", path.display());
            None
        }
    };
    if let Some(gid) = group {
        chown(path, None, Some(Gid::as_raw(gid))).map_err(failed("give to the group xdirector", path))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed("set the mode of", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServerError + use<> {
    let path = path.to_path_buf();
    move |source| ServerError::Io { action, path, source }
}

/// Dropping it ends all conversations.
async fn listen(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let room = Arc::new(Semaphore::new(CLIENTS));
    let mut conversations = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = conversations.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // A client that has gone again, or no descriptor left.
            Err(error) => {
                warn!(%error, "cannot accept at the control socket");
                sleep(PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(place) => {
                let calls = calls.clone();
                conversations.spawn(async move {
                    converse(stream, calls).await;
                    drop(place);
                });
            }
            Err(_) => refuse(stream),
        }
    }
}

/// As much as goes without waiting.
fn refuse(stream: UnixStream) {
    let failure = Failure::new(FailureKind::Busy, format!("{CLIENTS} others are being served; try again"));
    let line = Response::new(Err(failure)).encode() + "\n";
    if let Err(error) = stream.try_write(line.as_bytes()) {
        debug!(%error, "a client was turned away without a word");
    }
}

/// Until the client has nothing more to say, or says nonsense, or nothing, for too long.
async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) {
    let who = match stream.peer_cred() {
        Ok(peer) => who(peer.uid(), peer.pid()).await,
        Err(error) => return debug!(%error, "a client without credentials"),
    };
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let line = match timeout(SILENCE, read_line(&mut read, LONGEST)).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                let failure = Failure::new(FailureKind::Malformed, format!("cannot read a request: {error}"));
                send(&mut write, Response::new(Err(failure))).await;
                return debug!(%error, who, "a client says no whole line");
            }
            Err(_) => return debug!(who, "a client says nothing"),
        };
        let response = ask(&line, &who, &calls).await;
        if !send(&mut write, response).await {
            return debug!(who, "a client does not take its answer");
        }
    }
}

async fn ask(line: &[u8], who: &str, calls: &mpsc::Sender<Call>) -> Response {
    let request = match Request::decode(line) {
        Ok(request) => request,
        Err(failure) => return Response::new(Err(failure)),
    };
    let (reply, response) = oneshot::channel();
    let ending = || Response::new(Err(Failure::new(FailureKind::Ending, "the daemon ends")));
    if calls.send(Call { request, who: who.into(), reply }).await.is_err() {
        return ending();
    }
    response.await.unwrap_or_else(|_| ending())
}

/// Whether it was taken. What is long is made elsewhere, so that nobody waits for it.
async fn send(stream: &mut (impl AsyncWrite + Unpin), response: Response) -> bool {
    let line = spawn_blocking(move || response.encode() + "\n").await.unwrap_or_default();
    matches!(timeout(SLOWNESS, stream.write_all(line.as_bytes())).await, Ok(Ok(())))
}

/// In words. The name may come from far away, so it is looked up elsewhere.
async fn who(uid: u32, pid: Option<i32>) -> String {
    let user = spawn_blocking(move || User::from_uid(Uid::from_raw(uid))).await;
    let name = user.ok().and_then(Result::ok).flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| format!("uid {uid}"));
    match pid {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name,
    }
}
