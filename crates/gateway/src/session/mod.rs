//! One access session, one actor: bytes pass through it, are timed once, and go to the recorder,
//! the command detector and live viewers in that order.
//!
//! The actor stands between two ends and knows neither protocol nor client: an [`ends::TargetEnd`], made
//! by a protocol, and an [`ends::ClientEnd`], made by the SSH front or a web terminal.
//!
//! The way of a session: [`crate::admission::Admission::check`], [`Hub::begin`] (its row stands before anything connects),
//! the protocol connects, [`Begun::run`]. Whatever happens, the row is ended: [`Begun`] and the actor do so when they
//! are dropped.

mod actor;
mod begun;
mod carrier;
pub mod ends;
pub(crate) mod handle;
mod hub;
pub(crate) mod rows;
pub mod supplied;
pub mod tether;

pub use self::{
    begun::{Begun, Opening},
    handle::{
        Ended, Gone, LiveEvent, Looking, SessionFacts, SessionHandle, SessionNumbers, ViewMode, Viewer, Watch,
    },
    hub::{Hub, HubDeps, Limits, Refusal, SessionNews},
};
pub use crate::sinks::screen::Snapshot;
