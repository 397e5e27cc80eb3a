//! VRRP from the outside: who answers for a vip, when, and what a client loses.

mod rehearsal;
