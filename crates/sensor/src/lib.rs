//! Presence sources and the engine that turns what they see into presence sessions.
