//! `sojourn token`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sojourn_domain::{
    id::TokenId,
    identity::{Line, UserName},
    policy::{Permission, Permissions},
    time::{Clock as _, Elapsed, Timestamp},
};
use sojourn_store::{
    Entropy, SystemClock,
    audit::By,
    identity::{NewToken, SecretHash, Token as StoredToken},
};

use super::{Place, print, print_json, table, user::find};
use crate::http::auth::{TOKEN_PREFIX, new_secret};

const MOST_LISTED: i64 = 1_000_000;

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it; it cannot be had again
    Create(Create),
    /// List tokens, newest first
    List(List),
    /// Make a token useless, at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Whose token it is
    #[arg(long, value_name = "NAME")]
    user: UserName,
    /// What it is for
    #[arg(long, default_value = "made on the command line")]
    label: Line<128>,
    /// When it ends, such as 30d [default: never]
    #[arg(long, value_name = "DURATION")]
    expires: Option<Elapsed>,
    /// Allow only this; may be repeated [default: all that the user's role allows]
    #[arg(long = "permission", value_name = "KEY")]
    permissions: Vec<Permission>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this user's
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// As `token list` prints it
    id: TokenId,
    #[command(flatten)]
    place: Place,
}

impl Token {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let user = find(&store, &self.user).await?;
        let now = SystemClock.now();
        let secret = new_secret(TOKEN_PREFIX, Entropy);
        let permissions: Option<Permissions> =
            (!self.permissions.is_empty()).then(|| self.permissions.into_iter().collect());
        let new = NewToken {
            id: Entropy.id(now),
            user: user.id,
            label: self.label,
            secret: SecretHash::of(&secret),
            permissions,
            expires_at: self.expires.map(|length| now + length),
        };
        store.token_add(&new, &By::cli(now)).await.context("make the token")?;
        store.close().await;
        if !self.json {
            return print(&format!("{secret}\n"));
        }
        print_json(&json!({
            "token": secret,
            "id": new.id,
            "label": new.label,
            "userId": user.id,
            "userName": user.name,
            "expiresAt": new.expires_at.map(Timestamp::rfc3339),
        }))
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let of = match &self.user {
            Some(name) => Some(find(&store, name).await?.id),
            None => None,
        };
        let tokens = store.tokens(of, MOST_LISTED).await.context("list tokens")?;
        store.close().await;
        if self.json {
            return print_json(&json!({"tokens": tokens.iter().map(shown).collect::<Vec<_>>()}));
        }
        let now = SystemClock.now();
        let rows = tokens.into_iter().map(|token| {
            let ends = match (token.revoked_at, token.expires_at) {
                (Some(_), _) => "revoked".to_owned(),
                (None, Some(at)) if at <= now => "expired".to_owned(),
                (None, Some(at)) => at.rfc3339(),
                (None, None) => "never".to_owned(),
            };
            let used = token.last_used_at.map_or_else(|| "never".to_owned(), Timestamp::rfc3339);
            [token.id.to_string(), token.user_name, token.label, ends, used]
        });
        print(&table(["ID", "USER", "LABEL", "ENDS", "LAST USED"], rows))
    }
}

impl Revoke {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let known = store.token(self.id).await.context("find the token")?;
        anyhow::ensure!(known.is_some(), "there is no token {}", self.id);
        // Revoking what is revoked changes nothing.
        store.token_revoke(self.id, &By::cli(SystemClock.now())).await.context("revoke the token")?;
        store.close().await;
        Ok(())
    }
}

fn shown(token: &StoredToken) -> serde_json::Value {
    json!({
        "id": token.id,
        "label": token.label,
        "userId": token.user,
        "userName": token.user_name,
        "permissions": token.permissions,
        "createdAt": token.created_at.rfc3339(),
        "expiresAt": token.expires_at.map(Timestamp::rfc3339),
        "lastUsedAt": token.last_used_at.map(Timestamp::rfc3339),
        "revokedAt": token.revoked_at.map(Timestamp::rfc3339),
    })
}
