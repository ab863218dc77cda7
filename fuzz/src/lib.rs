//! The sensor's parsers of foreign bytes, without the rest of the sensor: they need no runtime, no
//! sockets and no database, and so the fuzz targets build in a minute. That this compiles is the
//! proof that the parsers are pure.

#[path = "../../crates/sensor/src/frames.rs"]
pub mod frames;
#[path = "../../crates/sensor/src/hostnames.rs"]
pub mod hostnames;
#[path = "../../crates/sensor/src/imports.rs"]
pub mod imports;
#[path = "../../crates/sensor/src/leases/mod.rs"]
pub mod leases;
