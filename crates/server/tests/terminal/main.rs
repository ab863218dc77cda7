//! Terminals and desktops over WebSocket against real targets: opened, resized, lost and found again, watched, ended.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a house that tests play in may panic")]

mod film;
mod house;
mod live;
mod nodes;
mod rdp;
mod recorded;
mod ssh;
mod telnet;
mod vnc;
