//! What goes over the wire, and nothing else: shapes, their names in JSON, and their schemas.

pub mod identity;
pub mod values;
