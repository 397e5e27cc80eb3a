//! What can be asked.

use serde::{Deserialize, Serialize};

use super::{Failure, FailureKind};

/// The version of the protocol. New commands and new fields do not change it: whoever reads ignores fields it does not know.
pub const VERSION: u32 = 1;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// All there is to know.
    Status,
    /// A real server keeps the flows that it has and takes no others.
    Drain(Target),
    /// The end of that.
    Undrain(Target),
    /// A real server does not serve at all: its flows are moved too.
    Maintenance {
        /// Which.
        #[serde(flatten)]
        target: Target,
        /// Whether it is to be so, or no longer.
        on: bool,
    },
    /// A real server has another weight than the file says.
    Weight {
        /// Which.
        #[serde(flatten)]
        target: Target,
        /// 0 to 65535; `None`: the file's again.
        weight: Option<u32>,
    },
    /// What is known of a real server's flows.
    Flows(Target),
    /// The file is read again.
    Reload,
    /// What is logged.
    LogLevel {
        /// This and what is worse.
        level: LogLevel,
    },
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its pool's name.
    pub pool: String,
    /// Its name, or its address.
    pub real: String,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What does not work.
    Error,
    /// What deserves a look.
    Warn,
    /// What happens.
    Info,
    /// How it comes about.
    Debug,
    /// All there is.
    Trace,
}

impl LogLevel {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl From<tracing::Level> for LogLevel {
    fn from(level: tracing::Level) -> Self {
        match level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warn,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }
}

/// The part of every request that never changes.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Serialize)]
struct Envelope<'a> {
    version: u32,
    #[serde(flatten)]
    request: &'a Request,
}

impl Request {
    /// Its line, without the newline.
    pub fn encode(&self) -> String {
        // Plain data: there is nothing that JSON cannot say.
        serde_json::to_string(&Envelope { version: VERSION, request: self }).unwrap_or_default()
    }

    /// From a line.
    ///
    /// # Errors
    /// What is to be answered instead.
    pub fn decode(line: &[u8]) -> Result<Self, Failure> {
        let malformed =
            |error: serde_json::Error| Failure::new(FailureKind::Malformed, format!("no such request: {error}"));
        let Head { version } = serde_json::from_slice(line).map_err(malformed)?;
        if version != VERSION {
            let message =
                format!("the request is of version {version} of the protocol; this daemon speaks version {VERSION}");
            return Err(Failure::new(FailureKind::Version, message));
        }
        serde_json::from_slice(line).map_err(malformed)
    }
}
