//! FTP targets.

use sojourn_domain::access::EndReason;

use super::{Opened, Patience};
use crate::protocols::{ConnectError, Credential, Target, dial::Rules};

/// Reaches a target and logs in.
pub async fn open(_: &Target, _: &Credential, _: &Rules, _: Patience) -> Result<Opened, ConnectError> {
    Err(ConnectError::new(EndReason::Failed, "FTP connections cannot be opened yet"))
}
