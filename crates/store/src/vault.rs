//! The master key, and what it protects: connection credentials, the data keys of recordings, and
//! the key that signs manifests.
//!
//! The master key is 32 random bytes: in `DIR/master.key` (base64 and a line end, mode 0600, made at the first start), or in
//! `SOJOURN_MASTER_KEY` (base64), so that several nodes share one. It encrypts nothing itself: HKDF-SHA256
//! (RFC 5869) derives one key for sealing, one seed for signing (ed25519), and a name by which a database
//! recognises it. Who loses it loses every stored credential and every recording.
//!
//! A sealed value is text: `v1.` and the base64 of a random 12-byte nonce, the AES-256-GCM ciphertext and its tag. Its purpose
//! (such as `connection:conn_…`) is the additional data, so that a value moved to another row does not open.

use std::{
    fmt,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use data_encoding::{BASE64, HEXLOWER};
use sojourn_domain::seal::{PublicKey, SealError, SigningKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    clock::Entropy,
    db::{Store, StoreError},
};

/// The master key's file in the data directory.
pub const KEY_FILE: &str = "master.key";
/// The public half of the signing key in the data directory, in PEM.
pub const PUBLIC_KEY_FILE: &str = "recording-key.pub";
const VERSION: &str = "v1.";
const NONCE: usize = 12;
/// The row of `meta` that says which master key a database belongs to.
const META: &str = "master_key";

/// Why a secret could not be kept or brought back.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the master key {0} cannot be read or made")]
    File(String, #[source] std::io::Error),
    #[error("the master key {0} may be read by others: chmod 600 it")]
    Exposed(String),
    #[error("the master key is not 32 bytes in base64")]
    Unreadable,
    #[error(
        "the database belongs to another master key than this one: bring the master.key that it was made with"
    )]
    OtherKey,
    #[error("the value was not sealed by this master key for this purpose, or was altered")]
    Altered,
    #[error("the cryptographic library refused")]
    Crypto,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SealError> for VaultError {
    fn from(_: SealError) -> Self {
        Self::Crypto
    }
}

/// Bytes that are overwritten when dropped and never printed.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As text, where it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The one secret that everything else hangs on.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads 32 bytes in base64; white space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let bytes =
            Zeroizing::new(BASE64.decode(text.trim().as_bytes()).map_err(|_| VaultError::Unreadable)?);
        let bytes = bytes.as_slice().try_into().map_err(|_| VaultError::Unreadable)?;
        Ok(Self::new(bytes))
    }

    /// Reads a file that only its owner may read.
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let failed = |error| VaultError::File(path.display().to_string(), error);
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(VaultError::Exposed(path.display().to_string()));
        }
        Self::parse(&Zeroizing::new(fs::read_to_string(path).map_err(failed)?))
    }

    fn make(path: &Path, entropy: Entropy) -> Result<Self, VaultError> {
        let failed = |error| VaultError::File(path.display().to_string(), error);
        let key = Self::new(entropy.bytes());
        // Whole under another name first: a key that a crash cut short would lock everything away.
        let partial = path.with_extension("partial");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(failed)?;
        let text = Zeroizing::new(format!("{}\n", BASE64.encode(key.0.as_slice())));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        // A link never replaces a key that somebody else made meanwhile.
        let linked = fs::hard_link(&partial, path);
        let _ = fs::remove_file(&partial);
        match linked {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Self::read(path),
            Err(error) => return Err(failed(error)),
        }
        if let Some(directory) = path.parent() {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        }
        Ok(key)
    }

    fn derive<const N: usize>(&self, purpose: &str) -> Result<Zeroizing<[u8; N]>, VaultError> {
        struct Len(usize);
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        let mut bytes = Zeroizing::new([0; N]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"sojourn master key 1")
            .extract(self.0.as_slice())
            .expand(&[purpose.as_bytes()], Len(N))
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .map_err(|_| VaultError::Crypto)?;
        Ok(bytes)
    }
}

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    cipher: LessSafeKey,
    signing: SigningKey,
    /// Names the master key without telling it; 32 hexadecimal digits.
    name: String,
    entropy: Entropy,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.inner.name)
    }
}

impl Vault {
    /// Takes the given master key, or the one in the data directory, which is made where there is none; and leaves the
    /// public key beside it.
    pub fn open(data_dir: &Path, key: Option<MasterKey>, entropy: Entropy) -> Result<Self, VaultError> {
        let path = data_dir.join(KEY_FILE);
        let key = match key {
            Some(key) => key,
            None if path.exists() => MasterKey::read(&path)?,
            None => MasterKey::make(&path, entropy)?,
        };
        let vault = Self::with_key(&key, entropy)?;
        let public = data_dir.join(PUBLIC_KEY_FILE);
        let pem = vault.public_key().to_pem();
        if fs::read_to_string(&public).ok().as_deref() != Some(pem.as_str()) {
            fs::write(&public, pem).map_err(|error| VaultError::File(public.display().to_string(), error))?;
        }
        Ok(vault)
    }

    /// Without a data directory.
    pub fn with_key(key: &MasterKey, entropy: Entropy) -> Result<Self, VaultError> {
        let sealing: Zeroizing<[u8; 32]> = key.derive("sealing")?;
        let seed: Zeroizing<[u8; 32]> = key.derive("signing recordings")?;
        let name: Zeroizing<[u8; 16]> = key.derive("name")?;
        let cipher = UnboundKey::new(&AES_256_GCM, sealing.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| VaultError::Crypto)?;
        Ok(Self {
            inner: Arc::new(Inner {
                cipher,
                signing: SigningKey::from_seed(&seed)?,
                name: HEXLOWER.encode(name.as_slice()),
                entropy,
            }),
        })
    }

    /// Encrypts for one purpose, such as `connection:conn_…`.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String, VaultError> {
        let nonce: [u8; NONCE] = self.inner.entropy.bytes();
        let mut sealed = Vec::with_capacity(NONCE + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .inner
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose),
                &mut sealed[NONCE..],
            )
            .map_err(|_| VaultError::Crypto)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(format!("{VERSION}{}", BASE64.encode(&sealed)))
    }

    /// Decrypts what [`Vault::seal`] made for the same purpose.
    pub fn unseal(&self, purpose: &str, sealed: &str) -> Result<Secret, VaultError> {
        let text = sealed.strip_prefix(VERSION).ok_or(VaultError::Altered)?;
        let mut bytes = BASE64.decode(text.as_bytes()).map_err(|_| VaultError::Altered)?;
        let (nonce, body) = bytes.split_first_chunk_mut::<NONCE>().ok_or(VaultError::Altered)?;
        let plain = self
            .inner
            .cipher
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose), body)
            .map_err(|_| VaultError::Altered)?
            .len();
        bytes.drain(..NONCE);
        bytes.truncate(plain);
        Ok(Secret::new(bytes))
    }

    /// What manifests are signed with; all nodes with one master key have the same.
    pub fn signing_key(&self) -> &SigningKey {
        &self.inner.signing
    }

    pub fn public_key(&self) -> PublicKey {
        self.inner.signing.public()
    }

    /// Checks that the database was used with this master key and no other; a new database remembers it.
    pub async fn belongs_to(&self, store: &Store) -> Result<(), VaultError> {
        let (name,): (String,) = sqlx::query_as(
            "INSERT INTO meta (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = meta.value RETURNING value",
        )
        .bind(META)
        .bind(&self.inner.name)
        .fetch_one(store.write())
        .await
        .map_err(StoreError::from)?;
        if name == self.inner.name { Ok(()) } else { Err(VaultError::OtherKey) }
    }
}

#[cfg(test)]
mod tests {
    use sojourn_testbed::both_databases;

    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault::with_key(&MasterKey::new([byte; 32]), Entropy).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_only() {
        let vault = vault(1);
        let sealed = vault.seal("connection:a", b"hunter2").unwrap();
        assert_eq!(vault.unseal("connection:a", &sealed).unwrap().text(), Some("hunter2"));
        assert_ne!(sealed, vault.seal("connection:a", b"hunter2").unwrap());
        assert!(vault.unseal("connection:b", &sealed).is_err());
        assert!(self::vault(2).unseal("connection:a", &sealed).is_err());
        assert_eq!(vault.unseal("x", &vault.seal("x", b"").unwrap()).unwrap().expose(), b"");
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let vault = vault(1);
        let sealed = vault.seal("p", b"hunter2").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(vault.unseal("p", std::str::from_utf8(&altered).unwrap()).is_err(), "{at}");
            assert!(vault.unseal("p", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Vault::open(folder.path(), None, Entropy).unwrap().seal("p", b"x").unwrap();
        let path = folder.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Vault::open(folder.path(), None, Entropy).unwrap();
        assert_eq!(again.unseal("p", &sealed).unwrap().expose(), b"x");
        let pem = fs::read_to_string(folder.path().join(PUBLIC_KEY_FILE)).unwrap();
        assert_eq!(PublicKey::parse(&pem).unwrap(), again.public_key());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Vault::open(folder.path(), None, Entropy), Err(VaultError::Exposed(_))));
    }

    #[test]
    fn nothing_secret_prints() {
        let secret = Secret::new(b"hunter2".to_vec());
        let key = MasterKey::new([65; 32]);
        assert_eq!(format!("{secret:?} {key:?}"), "Secret MasterKey");
    }

    #[tokio::test]
    async fn a_database_keeps_to_its_master_key() {
        both_databases(async |url| {
            let store = Store::open(url).await.unwrap();
            vault(1).belongs_to(&store).await.unwrap();
            vault(1).belongs_to(&store).await.unwrap();
            assert!(matches!(vault(2).belongs_to(&store).await, Err(VaultError::OtherKey)));
            store.close().await;
        })
        .await;
    }
}
