//! The control socket: what can be asked of a running daemon, and how.
//!
//! One line of JSON a request, one line of JSON an answer, in turn; docs/control.md has them all. The server knows nothing
//! of the daemon: it hands a [`Call`] over and waits for what comes back.

mod client;
mod line;
mod request;
mod response;
mod server;
mod status;

pub use client::{Client, ClientError};
pub use request::{LogLevel, Request, Target, VERSION};
pub use response::{Answer, Failure, FailureKind, FlowsReport, OrderReport, Outcome, ReloadReport, Response};
pub use server::{Call, Server, ServerError};
pub use status::{
    CheckStatus, DaemonStatus, DiscoveryStatus, InterfaceStatus, LeaseStatus, OrderStatus, PeeringStatus, PoolStatus,
    RealStatus, ServiceStatus, StatusReport, VrrpStatus,
};

#[cfg(test)]
mod tests;
