//! Targets that lie, hang and talk nonsense.
