//! The front's own keys, by which clients know it: made at the first start, kept in the data directory.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use russh::keys::{
    Algorithm, EcdsaCurve, HashAlg, PrivateKey, decode_secret_key, key::safe_rng, pkcs8::decode_pkcs8,
    ssh_key::LineEnding,
};

type Make = fn() -> Result<PrivateKey, String>;

/// A host key could not be read or made.
#[derive(Debug, thiserror::Error)]
#[error("the host key {file}: {message}")]
pub struct HostKeyError {
    file: String,
    message: String,
}

/// Reads the host keys of a directory, and makes those that are missing, for the owner's eyes alone.
pub fn open(directory: &Path) -> Result<Vec<PrivateKey>, HostKeyError> {
    let kinds: [(&str, Make); 3] = [
        ("ssh_host_ed25519_key", || random(Algorithm::Ed25519)),
        ("ssh_host_ecdsa_key", || random(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })),
        ("ssh_host_rsa_key", rsa),
    ];
    kinds
        .into_iter()
        .map(|(name, make)| {
            let file = directory.join(name);
            open_one(&file, make)
                .map_err(|message| HostKeyError { file: file.display().to_string(), message })
        })
        .collect()
}

/// `SHA256:…`, for those who compare.
pub fn fingerprint(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}

fn open_one(file: &Path, make: Make) -> Result<PrivateKey, String> {
    match fs::read_to_string(file) {
        Ok(text) => return decode_secret_key(&text, None).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.to_string()),
    }
    let key = make()?;
    let text = key.to_openssh(LineEnding::LF).map_err(|error| error.to_string())?;
    // Under another name first: a key is there whole or not at all.
    let half = file.with_extension("new");
    let _ = fs::remove_file(&half);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&half)
        .and_then(|mut out| {
            out.write_all(text.as_bytes())?;
            out.sync_all()
        })
        .and_then(|()| fs::rename(&half, file))
        .map_err(|error| error.to_string())?;
    Ok(key)
}

fn random(algorithm: Algorithm) -> Result<PrivateKey, String> {
    PrivateKey::random(&mut safe_rng(), algorithm).map_err(|error| error.to_string())
}

fn rsa() -> Result<PrivateKey, String> {
    let pair = KeyPair::generate(KeySize::Rsa3072).map_err(|error| error.to_string())?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|error| error.to_string())?;
    decode_pkcs8(der.as_ref(), None).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_made_once_and_nobody_else_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let made = open(directory.path()).unwrap();
        let read = open(directory.path()).unwrap();
        assert_eq!(made.len(), 3);
        assert!(made[2].algorithm().is_rsa());
        for (made, read) in made.iter().zip(&read) {
            assert_eq!(fingerprint(made), fingerprint(read));
        }
        for entry in fs::read_dir(directory.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(directory.path().join("ssh_host_rsa_key"), "nonsense").unwrap();
        assert!(open(directory.path()).unwrap_err().to_string().contains("ssh_host_rsa_key"));
    }
}
