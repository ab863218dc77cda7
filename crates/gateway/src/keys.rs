//! Keys as people paste them: whether they are keys, and how they are kept and compared.

use russh::keys::{self, HashAlg, PublicKey, ssh_key};

/// A public key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyText {
    /// `ssh-ed25519` and the like.
    pub algorithm: String,
    /// OpenSSH's text form without the comment.
    pub text: String,
    /// `SHA256:` and base 64 without padding.
    pub fingerprint: String,
    pub comment: String,
}

/// The text is no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("expected one public key as OpenSSH writes it, such as ssh-ed25519 AAAA…")]
    NotPublic,
    #[error("expected a private key in OpenSSH's, PKCS #1 or PKCS #8 text form")]
    NotPrivate,
    #[error("the private key is encrypted: its passphrase is missing")]
    PassphraseMissing,
    #[error("the passphrase does not open the private key")]
    PassphraseWrong,
    #[error("expected a host key's fingerprint (SHA256: and 43 characters) or the public key itself")]
    NotHostKey,
}

/// Reads a line of an `authorized_keys` or `.pub` file; options before the key are refused.
pub fn public_key(text: &str) -> Result<PublicKeyText, KeyError> {
    let text = text.trim();
    if text.lines().count() != 1 {
        return Err(KeyError::NotPublic);
    }
    let key = PublicKey::from_openssh(text).map_err(|_| KeyError::NotPublic)?;
    let comment = text.splitn(3, ' ').nth(2).unwrap_or_default().trim().to_owned();
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let mut bare = key;
    bare.set_comment(String::new());
    Ok(PublicKeyText {
        algorithm: bare.algorithm().as_str().to_owned(),
        text: bare.to_openssh().map_err(|_| KeyError::NotPublic)?.trim().to_owned(),
        fingerprint,
        comment,
    })
}

/// Says whether a private key can be read with this passphrase.
pub fn check_private_key(text: &str, passphrase: Option<&str>) -> Result<(), KeyError> {
    match keys::decode_secret_key(text, passphrase) {
        Ok(key) if key.is_encrypted() => Err(KeyError::PassphraseMissing),
        Ok(_) => Ok(()),
        Err(keys::Error::KeyIsEncrypted) => Err(KeyError::PassphraseMissing),
        Err(_) if !looks_encrypted(text) => Err(KeyError::NotPrivate),
        Err(_) if passphrase.is_none() => Err(KeyError::PassphraseMissing),
        Err(_) => Err(KeyError::PassphraseWrong),
    }
}

/// Something that reads as a key and needs a passphrase.
fn looks_encrypted(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
        || ssh_key::PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted())
}

/// Reads what a host is to prove itself with: a fingerprint, or a public key.
pub fn host_key(text: &str) -> Result<String, KeyError> {
    let text = text.trim();
    let Some(digest) = text.strip_prefix("SHA256:") else {
        return public_key(text).map(|key| key.text).map_err(|_| KeyError::NotHostKey);
    };
    let digest = digest.trim_end_matches('=');
    let good = digest.len() == 43
        && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if good { Ok(format!("SHA256:{digest}")) } else { Err(KeyError::NotHostKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me at home\n";

    #[test]
    fn public_keys_read_back_without_their_comment() {
        let key = public_key(PUBLIC).unwrap();
        assert_eq!(key.algorithm, "ssh-ed25519");
        assert_eq!(key.comment, "me at home");
        assert_eq!(key.text, PUBLIC.rsplit_once(" me").unwrap().0);
        assert_eq!(key.fingerprint, "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "command=\"x\" ssh-ed25519 AAAA", "x\ny"] {
            assert_eq!(public_key(bad), Err(KeyError::NotPublic), "{bad}");
        }
        assert_eq!(public_key(&PUBLIC.repeat(2)), Err(KeyError::NotPublic));
    }

    #[test]
    fn host_keys_are_fingerprints_or_keys() {
        let fingerprint = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
        assert_eq!(host_key(fingerprint).as_deref(), Ok(fingerprint));
        assert!(host_key(PUBLIC).unwrap().starts_with("ssh-ed25519 AAAA"));
        for bad in ["", "SHA256:", "MD5:00", "SHA256:x y", "aa:bb"] {
            assert_eq!(host_key(bad), Err(KeyError::NotHostKey), "{bad}");
        }
    }

    #[test]
    fn private_keys_open_with_their_passphrase_only() {
        use russh::keys::{Algorithm, PrivateKey, ssh_key::LineEnding};
        let mut rng = keys::key::safe_rng();
        let key = PrivateKey::random(&mut rng, Algorithm::Ed25519).unwrap();
        let plain = key.to_openssh(LineEnding::LF).unwrap();
        assert_eq!(check_private_key(&plain, None), Ok(()));
        let locked = key.encrypt(&mut rng, "open sesame").unwrap().to_openssh(LineEnding::LF).unwrap();
        assert_eq!(check_private_key(&locked, Some("open sesame")), Ok(()));
        assert_eq!(check_private_key(&locked, None), Err(KeyError::PassphraseMissing));
        assert_eq!(check_private_key(&locked, Some("wrong")), Err(KeyError::PassphraseWrong));
        for bad in ["", "hello", PUBLIC, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"] {
            assert_eq!(check_private_key(bad, None), Err(KeyError::NotPrivate), "{bad}");
        }
    }
}
