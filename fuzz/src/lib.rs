//! Parsers of foreign bytes, without the rest of their crates: they need no runtime, no
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
#[path = "../../crates/gateway/src/front/sftp/wire.rs"]
#[expect(dead_code, reason = "the answers are not fuzzed")]
pub mod sftp_front;
#[path = "../../crates/gateway/src/protocols/telnet/codec.rs"]
pub mod telnet;

pub mod files;
pub mod rdp;

#[path = "../../crates/gateway/src/protocols/vnc/pixels.rs"]
pub mod pixels;
#[path = "../../crates/gateway/src/protocols/vnc/browser.rs"]
pub mod vnc_browser;
#[path = "../../crates/gateway/src/protocols/vnc/downward.rs"]
pub mod vnc_downward;
#[path = "../../crates/gateway/src/protocols/vnc/handshake.rs"]
pub mod vnc_handshake;
#[path = "../../crates/gateway/src/protocols/vnc/upward.rs"]
pub mod vnc_upward;
/// As its neighbours call it.
pub use self::vnc_downward as downward;
#[path = "../../crates/gateway/src/protocols/vnc/picture.rs"]
pub mod vnc_picture;
#[path = "../../crates/gateway/src/protocols/vnc/viewer.rs"]
pub mod vnc_viewer;
