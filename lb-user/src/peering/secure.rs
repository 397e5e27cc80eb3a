//! Encryption and frames: the Noise protocol (`Noise_NNpsk0_25519_ChaChaPoly_SHA256`) over TCP.
//!
//! ```text
//! "xdp", version     caller to listener, in the clear, and part of what both sides authenticate
//! length (2), ciphertext     from then on, both ways: two of the handshake, then one for each message
//! ```
//!
//! The caller knows from the listener's first frame that it has the key; the listener knows it of the caller only from the
//! first message after the handshake, since what begins one can be recorded and played again. Keys are new for each connection:
//! whoever learns the key later cannot read what was recorded before.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use ring::{digest, pbkdf2};
use snow::{HandshakeState, StatelessTransportState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::message::{LONGEST, Message, MessageError, VERSION};
use crate::config::Secret;

const PROTOCOL: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
const MAGIC: [u8; 3] = *b"xdp";
/// Bytes of the authentication tag of a frame.
const TAG: usize = 16;
/// A frame of the handshake: a public key and a tag.
const HANDSHAKE_FRAME: usize = 48;
/// Makes each guess at a weak key cost a tenth of a second; tests have better keys, and less time.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(if cfg!(test) { 1000 } else { 300_000 }).expect("it is not 0");
const SALT: &[u8] = b"xdirector peering 1";

/// Why a connection is not to be, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The system's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It speaks something else.
    #[error("it does not speak the protocol of directors")]
    Stranger,
    /// It is a director of another version.
    #[error(
        "it speaks version {0} of the protocol of directors, and this one version {VERSION}: upgrade the older one"
    )]
    Version(u8),
    /// It cannot have the key.
    #[error("it has another key: [peering] must have the same on all directors")]
    Key,
    /// It took this long and did not come.
    #[error("nothing came for {0:?}")]
    Silent(std::time::Duration),
    /// It hung up.
    #[error("it hung up")]
    Closed,
    /// It hung up where it would if it did not like what it saw.
    #[error(
        "it hung up during the handshake: see its log; it may have another key, or not have this director in director.peers"
    )]
    Refused,
    /// A frame is not what was sent.
    #[error("a frame has been damaged or forged")]
    Frame,
    /// A frame is whole, but says nothing that is understood.
    #[error("it said {0}")]
    Message(#[from] MessageError),
    /// It said something at the wrong time.
    #[error("it said something out of turn")]
    Order,
    /// The cryptography refuses.
    #[error("cannot encrypt: {0}")]
    Cipher(snow::Error),
    /// It would not fit in a frame.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
}

/// The key in the form that the handshake takes.
pub struct Psk([u8; 32]);

impl Psk {
    /// Takes a tenth of a second, on purpose.
    pub fn derive(key: &Secret) -> Self {
        let mut psk = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, SALT, key.reveal().as_bytes(), &mut psk);
        Self(psk)
    }
}

#[cfg(test)]
impl Psk {
    /// Some key, at once.
    pub const fn derive_quickly() -> Self {
        Self([7; 32])
    }
}

impl std::fmt::Debug for Psk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Psk(…)")
    }
}

/// Stands for a hash seed: the same for the same, and tells nothing of it.
pub fn stands_for(hash_seed: u64) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"xdirector hash seed 1");
    context.update(&hash_seed.to_be_bytes());
    let hash = context.finish();
    hash.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn preface() -> [u8; 4] {
    [MAGIC[0], MAGIC[1], MAGIC[2], VERSION]
}

fn builder<'a>(psk: &'a Psk, preface: &'a [u8; 4]) -> Result<snow::Builder<'a>, ChannelError> {
    let protocol = PROTOCOL.parse().map_err(ChannelError::Cipher)?;
    let builder = snow::Builder::new(protocol).psk(0, &psk.0).map_err(ChannelError::Cipher)?;
    builder.prologue(preface).map_err(ChannelError::Cipher)
}

/// The caller's side of the handshake. The other has the key if this succeeds.
///
/// # Errors
/// See [`ChannelError`].
pub async fn call(mut stream: TcpStream, psk: &Psk) -> Result<(Reader, Writer), ChannelError> {
    let preface = preface();
    let mut noise = builder(psk, &preface)?.build_initiator().map_err(ChannelError::Cipher)?;
    let first = handshake_frame(&mut noise)?;
    stream.write_all(&[&preface[..], &first].concat()).await?;
    let second = match read_handshake_frame(&mut stream).await {
        Err(ChannelError::Closed) => return Err(ChannelError::Refused),
        Err(ChannelError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
            return Err(ChannelError::Refused);
        }
        other => other?,
    };
    noise.read_message(&second, &mut [0; HANDSHAKE_FRAME]).map_err(|_| ChannelError::Key)?;
    open(stream, noise)
}

/// The listener's side. That the other has the key is known when the first message has come.
///
/// # Errors
/// See [`ChannelError`].
pub async fn answer(mut stream: TcpStream, psk: &Psk) -> Result<(Reader, Writer), ChannelError> {
    let mut theirs = [0; 4];
    read_exactly(&mut stream, &mut theirs).await?;
    if theirs[..3] != MAGIC {
        return Err(ChannelError::Stranger);
    }
    if theirs[3] != VERSION {
        return Err(ChannelError::Version(theirs[3]));
    }
    let mut noise = builder(psk, &theirs)?.build_responder().map_err(ChannelError::Cipher)?;
    let first = read_handshake_frame(&mut stream).await?;
    noise.read_message(&first, &mut [0; HANDSHAKE_FRAME]).map_err(|_| ChannelError::Key)?;
    let second = handshake_frame(&mut noise)?;
    stream.write_all(&second).await?;
    open(stream, noise)
}

fn handshake_frame(noise: &mut HandshakeState) -> Result<Vec<u8>, ChannelError> {
    let mut frame = vec![0; 2 + HANDSHAKE_FRAME];
    let length = noise.write_message(&[], &mut frame[2..]).map_err(ChannelError::Cipher)?;
    frame.truncate(2 + length);
    // It fits: the buffer is short.
    frame[..2].copy_from_slice(&(length as u16).to_be_bytes());
    Ok(frame)
}

async fn read_handshake_frame(stream: &mut TcpStream) -> Result<[u8; HANDSHAKE_FRAME], ChannelError> {
    let mut length = [0; 2];
    read_exactly(stream, &mut length).await?;
    if usize::from(u16::from_be_bytes(length)) != HANDSHAKE_FRAME {
        return Err(ChannelError::Stranger);
    }
    let mut frame = [0; HANDSHAKE_FRAME];
    read_exactly(stream, &mut frame).await?;
    Ok(frame)
}

async fn read_exactly(stream: &mut (impl AsyncReadExt + Unpin), bytes: &mut [u8]) -> Result<(), ChannelError> {
    match stream.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ChannelError::Closed),
        Err(error) => Err(error.into()),
    }
}

fn open(stream: TcpStream, noise: HandshakeState) -> Result<(Reader, Writer), ChannelError> {
    let noise = noise.into_stateless_transport_mode().map_err(ChannelError::Cipher)?;
    let noise = Arc::new(noise);
    let (reader, writer) = stream.into_split();
    let reader = Reader { stream: reader, noise: Arc::clone(&noise), count: 0, frame: Vec::new(), plain: Vec::new() };
    Ok((reader, Writer { stream: writer, noise, count: 0, frame: Vec::new() }))
}

/// Takes messages, in the order they were sent; none can be left out, repeated or changed on the way.
pub struct Reader {
    stream: OwnedReadHalf,
    noise: Arc<StatelessTransportState>,
    /// Frames so far: each has its number as nonce.
    count: u64,
    frame: Vec<u8>,
    plain: Vec<u8>,
}

impl Reader {
    /// The next one. After an error, or if it is dropped half way, the connection is of no use any more.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn read(&mut self) -> Result<Message, ChannelError> {
        let mut length = [0; 2];
        read_exactly(&mut self.stream, &mut length).await?;
        let length = usize::from(u16::from_be_bytes(length));
        if length < TAG {
            return Err(ChannelError::Frame);
        }
        self.frame.resize(length, 0);
        read_exactly(&mut self.stream, &mut self.frame).await?;
        self.plain.resize(length, 0);
        let read = self.noise.read_message(self.count, &self.frame, &mut self.plain);
        let length = read.map_err(|_| ChannelError::Frame)?;
        self.count += 1;
        Ok(Message::decode(self.plain.get(..length).ok_or(ChannelError::Frame)?)?)
    }
}

/// Sends messages.
pub struct Writer {
    stream: OwnedWriteHalf,
    noise: Arc<StatelessTransportState>,
    /// As a reader's.
    count: u64,
    frame: Vec<u8>,
}

impl Writer {
    /// Sends one. After an error, or if it is dropped half way, the connection is of no use any more.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub async fn write(&mut self, message: &Message) -> Result<(), ChannelError> {
        let plain = message.encode();
        if plain.len() > LONGEST {
            return Err(ChannelError::TooLong(plain.len()));
        }
        self.frame.resize(2 + plain.len() + TAG, 0);
        let written = self.noise.write_message(self.count, &plain, &mut self.frame[2..]);
        let length = written.map_err(ChannelError::Cipher)?;
        self.count += 1;
        // It fits: the plain text is not too long.
        self.frame[..2].copy_from_slice(&(length as u16).to_be_bytes());
        Ok(self.stream.write_all(self.frame.get(..2 + length).ok_or(ChannelError::Frame)?).await?)
    }
}
