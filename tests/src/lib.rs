//! What xdirector's tests that need root share: packets, a world to run them through, the bench, the differential test, the lab.

pub mod bench;
pub mod demo;
pub mod failover;
pub mod fixture;
pub mod fuzz;
pub mod lab;
pub mod measure;
pub mod packet;
pub mod stack;
