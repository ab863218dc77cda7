//! SMB targets.

use sojourn_domain::access::EndReason;

use super::Opened;
use crate::protocols::{ConnectError, Credential, Target, dial::Rules};

/// Reaches a target and logs in.
pub async fn open(_: &Target, _: &Credential, _: &Rules) -> Result<Opened, ConnectError> {
    Err(ConnectError::new(EndReason::Failed, "SMB connections cannot be opened yet"))
}
