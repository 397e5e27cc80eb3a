//! What is answered.

use serde::{Deserialize, Serialize};

use super::{LogLevel, StatusReport, VERSION};

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The daemon's version of the protocol.
    pub version: u32,
    /// What came of the request.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What else whoever asked should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Ok(Answer),
    /// It was not, and nothing has changed.
    Error(Failure),
}

/// What is told of what was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Status`](super::Request::Status).
    Status(Box<StatusReport>),
    /// To the four commands for real servers.
    Order(OrderReport),
    /// To [`Request::Flows`](super::Request::Flows).
    Flows(FlowsReport),
    /// To [`Request::Reload`](super::Request::Reload).
    Reload(ReloadReport),
    /// To [`Request::LogLevel`](super::Request::LogLevel).
    LogLevel {
        /// The one in effect.
        level: LogLevel,
    },
}

/// A real server, and what the operator wants of it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderReport {
    /// Its pool's name.
    pub pool: String,
    /// Its name.
    pub real: String,
    /// Its address.
    pub address: String,
    /// serve, drain or maintenance.
    pub duty: String,
    /// The weight in the file.
    pub file_weight: u32,
    /// The one that was ordered instead, if one was.
    pub weight: Option<u32>,
    /// Whether that is another order than before.
    pub changed: bool,
}

/// What is known of a real server's flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsReport {
    /// Its pool's name.
    pub pool: String,
    /// Its name.
    pub real: String,
    /// Flows that are remembered to be on it.
    pub flows: u64,
    /// For how many seconds none of them has been seen, by a clock that ticks every 17 seconds; `None`: there is none.
    pub silent_seconds: Option<u64>,
    /// How many seconds ago the order in effect was given; `None`: there is none.
    pub ordered_seconds: Option<u64>,
    /// After so many seconds of silence a flow is forgotten: the longest `idle_timeout` of the pool's services.
    pub idle_timeout_seconds: u64,
}

/// What a reload has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The file.
    pub file: String,
    /// What is other than before, each in words; empty: nothing.
    pub changes: Vec<String>,
    /// What was written to the kernel's tables, in words.
    pub tables: String,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For people: what is wrong and what to do.
    pub message: String,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Another version of the protocol.
    Version,
    /// No request, or one that this version does not know.
    Malformed,
    /// Too many clients, or too long a request.
    Busy,
    /// No such pool or real server.
    Unknown,
    /// It cannot be had as things are.
    Refused,
    /// The config file is no good.
    Config,
    /// The daemon ends.
    Ending,
}

impl Failure {
    /// Of a kind, in words.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl Response {
    /// Without warnings.
    pub fn new(outcome: Result<Answer, Failure>) -> Self {
        let outcome = match outcome {
            Ok(answer) => Outcome::Ok(answer),
            Err(failure) => Outcome::Error(failure),
        };
        Self { version: VERSION, outcome, warnings: Vec::new() }
    }

    /// Its line, without the newline.
    pub fn encode(&self) -> String {
        // Plain data: there is nothing that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }
}
