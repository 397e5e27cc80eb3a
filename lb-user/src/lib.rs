//! The director's daemon as a library; the binary `xdirector` is a shell around [`cli`].

pub mod cli;
pub mod command;
pub mod config;
pub mod daemon;
pub mod dataplane;
pub mod health;
pub mod net;
pub mod notify;
pub mod reconcile;
pub mod state;
pub mod track;
pub mod vrrp;
