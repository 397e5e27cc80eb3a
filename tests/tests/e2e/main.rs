//! xdirector in the lab: real sockets, real nginx, the real binary. Needs root; one lab at a time.

mod crowd;
mod failure;
mod health;
mod operation;
mod paths;
mod scene;
mod services;
mod traffic;
mod vrrp;
mod vrrp_driver;
