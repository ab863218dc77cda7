//! RDP, as its modules call each other.

#[path = "../../../crates/gateway/src/protocols/rdp/capabilities.rs"]
mod capabilities;
#[path = "../../../crates/gateway/src/protocols/rdp/chunk.rs"]
mod chunk;
#[path = "../../../crates/gateway/src/protocols/rdp/clean_path.rs"]
pub mod clean_path;
#[path = "../../../crates/gateway/src/protocols/rdp/clipboard.rs"]
pub mod clipboard;
#[path = "../../../crates/gateway/src/protocols/rdp/dynamic.rs"]
mod dynamic;
#[path = "../../../crates/gateway/src/protocols/rdp/frame.rs"]
pub mod frame;
#[path = "../../../crates/gateway/src/protocols/rdp/input.rs"]
pub mod input;
#[path = "../../../crates/gateway/src/protocols/rdp/login.rs"]
pub mod login;
#[path = "../../../crates/gateway/src/protocols/rdp/parts.rs"]
mod parts;
#[path = "../../../crates/gateway/src/protocols/rdp/picture.rs"]
pub mod picture;
#[path = "../../../crates/gateway/src/protocols/rdp/relay.rs"]
pub mod relay;
