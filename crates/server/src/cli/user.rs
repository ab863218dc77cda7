//! `sojourn user`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sojourn_domain::{
    identity::{Line, RoleName, UserName},
    time::{Clock as _, Timestamp},
};
use sojourn_gateway::keys::public_key;
use sojourn_store::{
    Entropy, Store, SystemClock,
    audit::By,
    identity::{NewUser, User as StoredUser, UserChange},
    public_keys::NewPublicKey,
};

use super::{Place, print, print_json, table};
use crate::password::{NewPassword, hash_now};

/// Users are few; more than this many are not listed.
const MOST_LISTED: i64 = 1_000_000;

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Make a user
    Add(Add),
    /// List users
    List(List),
    /// Let nobody in as this user, until enabled again
    Disable(Named),
    /// Let the user in again
    Enable(Named),
    /// Give the user a new password; ends all logins, and forgets wrong guesses at the name
    SetPassword(SetPassword),
    /// Remove a user with all tokens and logins
    Remove(Named),
    /// Forget wrong guesses at the name, and of the addresses they came from
    Unlock(Named),
    /// Let the user log in over SSH with a public key
    AddKey(AddKey),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    name: UserName,
    /// admin, auditor, user, or one of your own
    #[arg(long)]
    role: RoleName,
    /// Read the password from the first line of standard input
    #[arg(long, required = true)]
    password_stdin: bool,
    #[arg(long, value_name = "TEXT", default_value = "")]
    display_name: Line<128>,
    /// Print the user as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    name: UserName,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct SetPassword {
    name: UserName,
    /// Read the password from the first line of standard input
    #[arg(long, required = true)]
    password_stdin: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct AddKey {
    name: UserName,
    /// A file with one public key, such as ~/.ssh/id_ed25519.pub
    file: std::path::PathBuf,
    /// [default: the key's comment]
    #[arg(long, value_name = "TEXT")]
    label: Option<Line<128>>,
    /// Print the key as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl AddKey {
    async fn run(self) -> anyhow::Result<()> {
        let path = self.file.display();
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("read {path}"))?;
        let key = public_key(&text).with_context(|| format!("read the public key {path}"))?;
        let store = self.place.open().await?;
        let user = find(&store, &self.name).await?;
        let now = SystemClock.now();
        let new = NewPublicKey {
            id: Entropy.id(now),
            user: user.id,
            label: self.label.unwrap_or_else(|| key.comment.parse().unwrap_or_default()),
            fingerprint: key.fingerprint,
            text: key.text,
        };
        let added = store
            .public_key_add(&new, &By::cli(now))
            .await
            .with_context(|| format!("add a key of the user {}", self.name))?;
        store.close().await;
        if self.json {
            return print_json(&json!({
                "id": added.id, "label": added.label, "fingerprint": added.fingerprint,
                "createdAt": added.created_at.rfc3339(),
            }));
        }
        print(&format!("{}\n", added.id))
    }
}

impl User {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run().await,
            Self::List(list) => list.run().await,
            Self::Disable(named) => named.set_disabled(true).await,
            Self::Enable(named) => named.set_disabled(false).await,
            Self::SetPassword(set) => set.run().await,
            Self::Remove(named) => named.remove().await,
            Self::Unlock(named) => named.unlock().await,
            Self::AddKey(add) => add.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<()> {
        let password = password_from_stdin()?;
        let store = self.place.open().await?;
        let now = SystemClock.now();
        let new = NewUser {
            id: Entropy.id(now),
            name: self.name,
            display_name: self.display_name,
            role: self.role,
            password: hash_now(&password, Entropy)?,
        };
        let user = store
            .user_add(&new, &By::cli(now))
            .await
            .with_context(|| format!("make the user {}", new.name))?;
        store.close().await;
        if self.json { print_json(&shown(&user)) } else { print(&format!("{}\n", user.id)) }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let (users, _) = store.users(MOST_LISTED, 0).await.context("list users")?;
        store.close().await;
        if self.json {
            return print_json(&json!({"users": users.iter().map(shown).collect::<Vec<_>>()}));
        }
        let rows = users.into_iter().map(|user| {
            let last = user.last_login_at.map_or_else(|| "never".to_owned(), Timestamp::rfc3339);
            let state = if user.disabled { "disabled" } else { "enabled" };
            [user.name, user.role, state.to_owned(), last, user.id.to_string()]
        });
        print(&table(["NAME", "ROLE", "STATE", "LAST LOGIN", "ID"], rows))
    }
}

impl Named {
    async fn set_disabled(self, disabled: bool) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let user = find(&store, &self.name).await?;
        let change = UserChange { disabled: Some(disabled), ..UserChange::default() };
        store
            .user_change(user.id, &change, &By::cli(SystemClock.now()))
            .await
            .with_context(|| format!("change the user {}", self.name))?;
        store.close().await;
        Ok(())
    }

    async fn remove(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let user = find(&store, &self.name).await?;
        store
            .user_remove(user.id, &By::cli(SystemClock.now()))
            .await
            .with_context(|| format!("remove the user {}", self.name))?;
        store.close().await;
        Ok(())
    }

    async fn unlock(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let user = find(&store, &self.name).await?;
        unlock(&store, &user).await?;
        store.close().await;
        Ok(())
    }
}

impl SetPassword {
    async fn run(self) -> anyhow::Result<()> {
        let password = password_from_stdin()?;
        let store = self.place.open().await?;
        let user = find(&store, &self.name).await?;
        let change = UserChange { password: Some(hash_now(&password, Entropy)?), ..UserChange::default() };
        store
            .user_change(user.id, &change, &By::cli(SystemClock.now()))
            .await
            .with_context(|| format!("change the user {}", self.name))?;
        unlock(&store, &user).await?;
        store.close().await;
        Ok(())
    }
}

async fn unlock(store: &Store, user: &StoredUser) -> anyhow::Result<()> {
    store
        .guesses_forget(&user.name.to_ascii_lowercase(), &By::cli(SystemClock.now()))
        .await
        .with_context(|| format!("unlock the user {}", user.name))?;
    Ok(())
}

pub(super) async fn find(store: &Store, name: &UserName) -> anyhow::Result<StoredUser> {
    let user = store.user_by_name(name).await.with_context(|| format!("find the user {name}"))?;
    user.with_context(|| format!("there is no user {name}"))
}

fn shown(user: &StoredUser) -> serde_json::Value {
    json!({
        "id": user.id,
        "name": user.name,
        "displayName": (!user.display_name.is_empty()).then_some(&user.display_name),
        "role": user.role,
        "disabled": user.disabled,
        "createdAt": user.created_at.rfc3339(),
        "lastLoginAt": user.last_login_at.map(Timestamp::rfc3339),
        "tokenCount": user.token_count,
    })
}

fn password_from_stdin() -> anyhow::Result<NewPassword> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the password from standard input")?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(NewPassword::try_from(text.to_owned())?)
}
