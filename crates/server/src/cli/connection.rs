//! `sojourn connection`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use sojourn_domain::{
    access::{AuthKind, ConnectionPolicy, Protocol, RecordPolicy},
    connections::{ConnectionName, ConnectionOptions, FtpTls, HostName},
    id::ConnectionId,
    identity::{Line, UserName},
    time::{Clock as _, Timestamp},
};
use sojourn_gateway::{
    keys::host_key,
    protocols::{Credential, dial, probe::probe},
};
use sojourn_store::{
    Entropy, Store, SystemClock,
    audit::By,
    connections::{
        Connection as StoredConnection, ConnectionFilter, ConnectionGrant, Grantee, NewConnection, PinnedKey,
        Reach,
    },
    vault::{MasterKey, Vault},
};

use super::{Place, Usage, print, print_json, table, user};
use crate::credentials::{self, Given, SecretText};

/// Connections are few; more than this many are not listed.
const MOST_LISTED: i64 = 1_000_000;

#[derive(Debug, Subcommand)]
pub(super) enum Connection {
    /// Make a connection and print its id
    Add(Box<Add>),
    /// List connections
    List(List),
    /// Show a connection
    Show(Named),
    /// Remove a connection; sessions keep its name
    Remove(Remove),
    /// Reach the target, look at its host key and log in; says what was found
    Test(Test),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    name: ConnectionName,
    /// ssh, telnet, sftp, ftp, smb or rdp
    #[arg(long)]
    protocol: Protocol,
    /// A DNS name or an address
    #[arg(long)]
    host: HostName,
    /// [default: the protocol's own]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// At the target
    #[arg(long, default_value = "")]
    username: Line<128>,
    /// Read the target's password from the first line of standard input
    #[arg(long, conflicts_with = "key")]
    password_stdin: bool,
    /// Log in at the target with the private key in this file
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read the key's passphrase from the first line of standard input
    #[arg(long, requires = "key")]
    passphrase_stdin: bool,
    /// password, key, prompt, agent or none [default: what is given, else prompt]
    #[arg(long, value_name = "KIND")]
    auth: Option<AuthKind>,
    /// The user whose connection it is
    #[arg(long, value_name = "USER")]
    owner: UserName,
    /// A user or a role that may use it; may be repeated
    #[arg(long, value_name = "USER_OR_ROLE")]
    share: Vec<String>,
    /// Record nothing but the row of each session
    #[arg(long)]
    no_record: bool,
    /// The target's host key: its SHA256: fingerprint, or the public key
    #[arg(long, value_name = "FINGERPRINT")]
    host_key: Option<String>,
    /// How FTP is protected: none, explicit or implicit [default: explicit]
    #[arg(long, value_name = "HOW")]
    tls: Option<FtpTls>,
    /// The SMB share [default: the shares are the folders of the root]
    #[arg(long, value_name = "SHARE", default_value = "", hide_default_value = true)]
    smb_share: String,
    /// The domain that the SMB user is of
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
    /// The folder that is shown first
    #[arg(long, value_name = "FOLDER", default_value = "", hide_default_value = true)]
    root: String,
    #[arg(long, default_value = "")]
    folder: Line<128>,
    /// May be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<Line<64>>,
    /// Print the connection as JSON
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
    /// Its name or id
    #[arg(value_name = "CONNECTION")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Its name or id
    #[arg(value_name = "CONNECTION")]
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Read the target's password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    named: Named,
}

impl Connection {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(add) => add.run().await,
            Self::List(list) => list.run().await,
            Self::Show(named) => named.show().await,
            Self::Remove(remove) => remove.run().await,
            Self::Test(test) => test.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<()> {
        let given = self.given()?;
        let auth = self.auth.unwrap_or_else(|| given.kind());
        credentials::check_kind(self.protocol, auth)?;
        let kept = credentials::kept(auth, &given)?;
        let options = ConnectionOptions {
            tls: self.tls,
            share: self.smb_share.clone(),
            domain: self.domain.clone(),
            root: self.root.clone(),
        };
        let options = options.fitted(self.protocol)?;
        let pinned = self.host_key.as_deref().map(host_key).transpose().context("read --host-key")?;
        let store = self.place.open().await?;
        let now = SystemClock.now();
        let id: ConnectionId = Entropy.id(now);
        let secret = match &kept {
            Some(text) => credentials::sealed(&vault(&self.place, &store).await?, id, Some(text))?,
            None => None,
        };
        let owner = user::find(&store, &self.owner).await?;
        let mut grants = Vec::new();
        for name in &self.share {
            grants.push(grantee(&store, name).await?);
        }
        let record = if self.no_record { RecordPolicy::Off } else { ConnectionPolicy::default().record };
        let new = NewConnection {
            id,
            name: self.name,
            protocol: self.protocol,
            host: self.host,
            port: self.port.unwrap_or(self.protocol.default_port()),
            username: self.username.into_string(),
            auth,
            secret,
            host_key: pinned,
            owner: owner.id,
            folder: self.folder.into_string(),
            tags: self.tag.into_iter().map(Line::into_string).collect(),
            notes: String::new(),
            policy: ConnectionPolicy { record, ..ConnectionPolicy::default() },
            options,
            grants,
        };
        let made = store
            .connection_create(&new, &By::cli(now))
            .await
            .with_context(|| format!("make the connection {}", new.name))?;
        let grants = store.connection_grants(made.id).await.context("read what it is shared with")?;
        store.close().await;
        if self.json { print_json(&shown(&made, &grants)) } else { print(&format!("{}\n", made.id)) }
    }

    fn given(&self) -> anyhow::Result<Given> {
        let mut given = Given::default();
        if self.password_stdin {
            given.password = Some(first_line("password")?);
        }
        if let Some(path) = &self.key {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read the private key {}", path.display()))?;
            given.private_key = Some(SecretText::new(text));
        }
        if self.passphrase_stdin {
            given.passphrase = Some(first_line("passphrase")?);
        }
        Ok(given)
    }
}

/// `user:NAME` and `role:NAME` say which is meant; else a user wins.
async fn grantee(store: &Store, name: &str) -> anyhow::Result<Grantee> {
    let of_user = async |name: &str| -> anyhow::Result<Option<Grantee>> {
        let Ok(name) = name.parse::<UserName>() else { return Ok(None) };
        let user = store.user_by_name(&name).await.context("find a user")?;
        Ok(user.map(|user| Grantee::User(user.id)))
    };
    let of_role = async |name: &str| -> anyhow::Result<Option<Grantee>> {
        let role = store.role_permissions(name).await.context("find a role")?;
        Ok(role.map(|_| Grantee::Role(name.to_owned())))
    };
    let found = match name.split_once(':') {
        Some(("user", name)) => of_user(name).await?,
        Some(("role", name)) => of_role(name).await?,
        Some(_) | None => match of_user(name).await? {
            Some(user) => Some(user),
            None => of_role(name).await?,
        },
    };
    found.with_context(|| format!("there is no user and no role {name}"))
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let (found, _) = store
            .connections(&everything(), &ConnectionFilter::default(), MOST_LISTED, 0)
            .await
            .context("list connections")?;
        store.close().await;
        if self.json {
            let all: Vec<_> = found.iter().map(|found| shown(&found.connection, &[])).collect();
            return print_json(&json!({"connections": all}));
        }
        let rows = found.into_iter().map(|found| {
            let connection = found.connection;
            let owner = connection.owner_name.clone().unwrap_or_default();
            [
                connection.name.clone(),
                connection.target(),
                connection.auth.to_string(),
                owner,
                connection.id.to_string(),
            ]
        });
        print(&table(["NAME", "TARGET", "AUTH", "OWNER", "ID"], rows))
    }
}

impl Named {
    async fn show(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let connection = find(&store, &self.name).await?;
        let grants = store.connection_grants(connection.id).await.context("read what it is shared with")?;
        store.close().await;
        let value = shown(&connection, &grants);
        if self.json {
            return print_json(&value);
        }
        let with: Vec<String> = grants.into_iter().map(|grant| grant.name).collect();
        let key = connection.host_key.as_ref().map_or_else(|| "none yet".to_owned(), PinnedKey::fingerprint);
        let rows = [
            ("id", connection.id.to_string()),
            ("name", connection.name.clone()),
            ("target", connection.target()),
            ("auth", connection.auth.to_string()),
            ("host key", key),
            ("owner", connection.owner_name.clone().unwrap_or_default()),
            ("shared with", with.join(", ")),
            ("folder", connection.folder.clone()),
            ("tags", connection.tags.join(", ")),
            ("record", connection.policy.record.to_string()),
        ];
        print(&table(["", ""], rows.into_iter().map(|(name, value)| [name.to_owned(), value])))
    }
}

impl Remove {
    async fn run(self) -> anyhow::Result<()> {
        let store = self.place.open().await?;
        let connection = find(&store, &self.name).await?;
        store
            .connection_delete(connection.id, &By::cli(SystemClock.now()))
            .await
            .with_context(|| format!("remove the connection {}", self.name))?;
        store.close().await;
        Ok(())
    }
}

impl Test {
    async fn run(self) -> anyhow::Result<()> {
        let password = if self.password_stdin { Some(first_line("password")?) } else { None };
        let place = &self.named.place;
        let store = place.open().await?;
        let connection = find(&store, &self.named.name).await?;
        let credential = match (&password, &connection.secret) {
            (Some(password), _) => Some(credentials::password(password)),
            (None, Some(_)) => {
                let vault = vault(place, &store).await?;
                let kept = Credential::kept(&connection, &vault);
                Some(kept.map_err(|error| anyhow::anyhow!(error.message))?)
            }
            (None, None) => None,
        };
        store.close().await;
        let target = credentials::target(&connection);
        let rules = dial::Rules { deny: place.deny_targets()? };
        let found = probe(connection.protocol, &target, credential.as_ref(), &rules).await;
        let good = found.is_good();
        let pinned = credentials::pinned_word(found.pinned);
        let login = credentials::login_word(found.login);
        if self.named.json {
            print_json(&json!({
                "ok": good, "message": found.message, "reached": found.reached,
                "latencyMs": found.latency.map(|latency| latency.as_millis()),
                "hostKey": found.host_key.as_ref()
                    .map(|key| json!({"algorithm": key.algorithm, "fingerprint": key.fingerprint})),
                "pinned": pinned, "login": login,
            }))?;
        } else {
            let key = found.host_key.as_ref().map_or_else(String::new, |key| {
                format!("host key {} {} ({pinned})\n", key.algorithm, key.fingerprint)
            });
            print(&format!("{key}{}\n", found.message.replace(char::is_control, " ")))?;
        }
        if good { Ok(()) } else { Err(anyhow::anyhow!("the connection {} does not work", connection.name)) }
    }
}

/// Whoever runs the command line sees all.
fn everything() -> Reach<'static> {
    Reach { user: Entropy.id(SystemClock.now()), role: "", all: true }
}

async fn find(store: &Store, name: &str) -> anyhow::Result<StoredConnection> {
    let found = store.connection_usable(&everything(), name).await;
    let found = found.with_context(|| format!("find the connection {name}"))?;
    found.with_context(|| format!("there is no connection {name}"))
}

/// The vault of the installation: without a data directory the environment has to hold the master key.
async fn vault(place: &Place, store: &Store) -> anyhow::Result<Vault> {
    let settings = place.settings()?;
    if let Some(data_dir) = &settings.data_dir {
        crate::serve::prepare_data_dir(data_dir)?;
        return crate::access::open_vault(settings.master_key_file.as_deref(), data_dir, store).await;
    }
    let key = match (std::env::var("SOJOURN_MASTER_KEY"), &settings.master_key_file) {
        (Ok(text), _) => MasterKey::parse(&text).context("read SOJOURN_MASTER_KEY")?,
        (Err(_), Some(path)) => MasterKey::read(path).context("read the master key")?,
        (Err(_), None) => {
            return Err(Usage(anyhow::anyhow!(
                "where is the master key? give --data-dir DIR or SOJOURN_MASTER_KEY"
            ))
            .into());
        }
    };
    let vault = Vault::with_key(&key, Entropy).context("open the vault")?;
    vault.belongs_to(store).await.context("open the vault")?;
    Ok(vault)
}

fn first_line(what: &str) -> anyhow::Result<SecretText> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).with_context(|| format!("read the {what} from standard input"))?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    Ok(SecretText::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

fn shown(connection: &StoredConnection, grants: &[ConnectionGrant]) -> serde_json::Value {
    let grants: Vec<_> = grants
        .iter()
        .map(|grant| {
            let kind = match &grant.grantee {
                Grantee::User(_) => "user",
                Grantee::Role(_) => "role",
            };
            json!({"kind": kind, "name": grant.name})
        })
        .collect();
    json!({
        "id": connection.id,
        "name": connection.name,
        "protocol": connection.protocol,
        "host": connection.host,
        "port": connection.port,
        "username": connection.username,
        "auth": connection.auth,
        "hasSecret": connection.secret.is_some(),
        "hostKey": connection.host_key.as_ref().map(PinnedKey::fingerprint),
        "ownerId": connection.owner,
        "ownerName": connection.owner_name,
        "folder": connection.folder,
        "tags": connection.tags,
        "policy": connection.policy,
        "options": connection.options,
        "grants": grants,
        "createdAt": Timestamp::rfc3339(connection.created_at),
    })
}
