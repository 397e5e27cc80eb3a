//! xdirector in the lab: real sockets, real nginx, the real binary. Needs root; one lab at a time.

mod control;
mod crowd;
mod discovery;
mod failure;
mod health;
mod operation;
mod paths;
mod peering;
mod scene;
mod services;
mod shares;
mod tracking;
mod traffic;
mod verdicts;
mod vrrp;
mod vrrp_driver;
