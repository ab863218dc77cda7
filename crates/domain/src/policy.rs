//! Who may do what: permissions, roles, and what of the sessions someone may see.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::id::UserId;

macro_rules! permissions {
    ($($name:ident = $key:literal, $description:literal;)*) => {
        /// One thing that may be allowed. The key is what the API and the store write.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission { $($name),* }

        impl Permission {
            pub const ALL: &'static [Permission] = &[$(Permission::$name),*];

            pub const fn key(self) -> &'static str {
                match self { $(Permission::$name => $key),* }
            }

            /// What it allows, in a sentence for people.
            pub const fn description(self) -> &'static str {
                match self { $(Permission::$name => $description),* }
            }
        }
    };
}

permissions! {
    PresenceView = "presence.view", "See devices, presence sessions and events";
    PresenceManage = "presence.manage", "Edit devices and presence sessions, report sightings";
    SessionsViewOwn = "sessions.view_own", "See one's own access and file sessions";
    SessionsViewAny = "sessions.view_any", "See everyone's access and file sessions";
    SessionsDelete = "sessions.delete", "Purge access and file sessions";
    SessionsWatch = "sessions.watch", "Watch live sessions";
    SessionsTerminate = "sessions.terminate", "End live sessions";
    ConnectionsCreate = "connections.create", "Create connections";
    ConnectionsEditOwn = "connections.edit_own", "Edit one's own connections";
    ConnectionsEditAny = "connections.edit_any", "Edit everyone's connections";
    ConnectionsDeleteOwn = "connections.delete_own", "Delete one's own connections";
    ConnectionsDeleteAny = "connections.delete_any", "Delete everyone's connections";
    ConnectionsShare = "connections.share", "Share connections";
    ConnectionsUse = "connections.use", "Open connections that were shared";
    ProtocolsSsh = "protocols.ssh", "Use SSH";
    ProtocolsTelnet = "protocols.telnet", "Use Telnet";
    ProtocolsRdp = "protocols.rdp", "Use RDP";
    ProtocolsVnc = "protocols.vnc", "Use VNC";
    ProtocolsSftp = "protocols.sftp", "Use SFTP";
    ProtocolsFtp = "protocols.ftp", "Use FTP";
    ProtocolsSmb = "protocols.smb", "Use SMB";
    AuditView = "audit.view", "Read the audit trail";
    UsersManage = "users.manage", "Manage users, their tokens and logins";
    RolesManage = "roles.manage", "Manage roles";
    SettingsManage = "settings.manage", "Manage sources and settings";
}

/// The text names no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no permission is called {0:?}")]
pub struct UnknownPermission(pub String);

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.key() == text)
            .ok_or_else(|| UnknownPermission(text.to_owned()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl serde::Serialize for Permission {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

impl<'de> serde::Deserialize<'de> for Permission {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of permissions.
pub type Permissions = BTreeSet<Permission>;

/// The roles that every installation has and nobody can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltinRole {
    Admin,
    Auditor,
    User,
}

impl BuiltinRole {
    pub const ALL: &'static [BuiltinRole] = &[Self::Admin, Self::Auditor, Self::User];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::User => "user",
        }
    }

    pub const fn description(self) -> &'static str {
        match self {
            Self::Admin => "May do everything",
            Self::Auditor => "Sees everything that was recorded, changes nothing",
            Self::User => "Uses what was shared, sees own sessions and presence",
        }
    }

    pub fn permissions(self) -> Permissions {
        use Permission as P;
        match self {
            Self::Admin => P::ALL.iter().copied().collect(),
            Self::Auditor => {
                [P::PresenceView, P::SessionsViewOwn, P::SessionsViewAny, P::SessionsWatch, P::AuditView]
                    .into()
            }
            Self::User => [
                P::PresenceView,
                P::SessionsViewOwn,
                P::ConnectionsUse,
                P::ProtocolsSsh,
                P::ProtocolsTelnet,
                P::ProtocolsRdp,
                P::ProtocolsVnc,
                P::ProtocolsSftp,
                P::ProtocolsFtp,
                P::ProtocolsSmb,
            ]
            .into(),
        }
    }
}

/// Whose sessions a query may return. Lists of sessions demand one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Any,
    Own(UserId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_and_are_unique() {
        let keys: BTreeSet<_> = Permission::ALL.iter().map(|p| p.key()).collect();
        assert_eq!(keys.len(), Permission::ALL.len());
        for permission in Permission::ALL {
            assert_eq!(permission.key().parse(), Ok(*permission));
        }
        assert!("sessions.*".parse::<Permission>().is_err());
    }

    #[test]
    fn an_auditor_changes_nothing() {
        let auditor = BuiltinRole::Auditor.permissions();
        for permission in [
            Permission::PresenceManage,
            Permission::SessionsDelete,
            Permission::SessionsTerminate,
            Permission::UsersManage,
            Permission::SettingsManage,
        ] {
            assert!(!auditor.contains(&permission));
        }
    }
}
