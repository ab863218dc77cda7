//! The HTTP API, in process: requests go through everything but the socket.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod authorization;
mod file_sessions;
mod house;
mod identity;
mod openapi;
mod recordings;
mod requests;
mod supplied;
