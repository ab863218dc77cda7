//! Who may open what.
//!
//! An [`Admission`] can be had from [`Admission::check`] alone, which looks everything up at the moment it is
//! asked: the user, what their role allows, and whether the connection is theirs or shared with them.
//! No session begins without one.

use sojourn_domain::{
    id::UserId,
    policy::{Permission, Permissions},
};
use sojourn_store::{
    Store, StoreError,
    connections::{Connection, Reach},
};

/// Somebody may open a connection, now.
#[derive(Debug, Clone)]
pub struct Admission {
    user: UserId,
    user_name: String,
    permissions: Permissions,
    connection: Connection,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The user was removed or disabled.
    #[error("the user may not log in any more")]
    User,
    #[error("this needs the permission {0}")]
    Permission(Permission),
    /// There is none, or none that the user may know of.
    #[error("there is no such connection")]
    Connection,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user as they are now.
struct Known {
    user: UserId,
    name: String,
    role: String,
    permissions: Permissions,
}

impl Known {
    async fn look_up(store: &Store, user: UserId) -> Result<Self, Refused> {
        let found = store.user(user).await?.filter(|user| !user.disabled).ok_or(Refused::User)?;
        let permissions = store.role_permissions(&found.role).await?.unwrap_or_default();
        Ok(Self { user, name: found.name, role: found.role, permissions })
    }

    async fn admit(&self, store: &Store, connection: &str) -> Result<Admission, Refused> {
        let require = |permission| {
            if self.permissions.contains(&permission) { Ok(()) } else { Err(Refused::Permission(permission)) }
        };
        require(Permission::ConnectionsUse)?;
        let all = self.permissions.contains(&Permission::ConnectionsEditAny);
        let reach = Reach { user: self.user, role: &self.role, all };
        let connection = store.connection_usable(&reach, connection).await?.ok_or(Refused::Connection)?;
        require(connection.protocol.permission())?;
        Ok(Admission {
            user: self.user,
            user_name: self.name.clone(),
            permissions: self.permissions.clone(),
            connection,
        })
    }
}

impl Admission {
    /// Looks up whether `user` may open the connection of this id or name.
    pub async fn check(store: &Store, user: UserId, connection: &str) -> Result<Self, Refused> {
        Known::look_up(store, user).await?.admit(store, connection).await
    }

    /// The same for several connections of one user, who is looked up once: an answer for each.
    pub async fn check_all(
        store: &Store,
        user: UserId,
        connections: &[String],
    ) -> Vec<Result<Self, Refused>> {
        let mut answers = Vec::with_capacity(connections.len());
        let mut known = None;
        for connection in connections {
            if known.is_none() {
                match Known::look_up(store, user).await {
                    Ok(found) => known = Some(found),
                    Err(refused) => {
                        answers.push(Err(refused));
                        continue;
                    }
                }
            }
            if let Some(known) = &known {
                answers.push(known.admit(store, connection).await);
            }
        }
        answers
    }

    pub fn user(&self) -> UserId {
        self.user
    }

    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The connection, with its sealed credential and its policy.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the user may say that a target's host key is the right one.
    pub fn may_edit(&self) -> bool {
        let own = self.connection.owner == Some(self.user)
            && self.permissions.contains(&Permission::ConnectionsEditOwn);
        own || self.permissions.contains(&Permission::ConnectionsEditAny)
    }
}
