//! Which algorithms are spoken: nothing that rests on SHA-1 alone, on CBC or on small groups.

use std::borrow::Cow;

use russh::{
    Preferred, cipher, compression, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_GEX_SHA256,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// AES-GCM costs a fifth of what ChaCha20-Poly1305 does where the processor knows AES, for us and for whoever is at the
/// other end. Its 128 bits come first, as OpenSSH has it.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Where it does not.
const CIPHERS_WITHOUT_AES: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

fn ciphers() -> &'static [cipher::Name] {
    #[cfg(target_arch = "x86_64")]
    let fast = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let fast =
        std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let fast = false;
    if fast { CIPHERS } else { CIPHERS_WITHOUT_AES }
}

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

/// Towards clients.
pub(crate) fn front_preferences() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(KEYS),
        // Keys of hardware tokens log in too, but no host has one.
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(ciphers()),
        mac: Cow::Borrowed(MACS),
        // Compressed input is a way to make a server grow; a client that asks for it goes without.
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Towards a target. `first` is the kind of the host key that is pinned, so that a host with several
/// keys shows that one.
pub(crate) fn target_preferences(first: Option<&str>) -> Preferred {
    let mut preferred = front_preferences();
    if let Some(first) = first {
        let same = |algorithm: &Algorithm| {
            if first == "ssh-rsa" { algorithm.clone().is_rsa() } else { algorithm.as_str() == first }
        };
        let mut keys = KEYS.to_vec();
        keys.sort_by_key(|algorithm| !same(algorithm));
        preferred.key = Cow::Owned(keys);
    }
    preferred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_kind_comes_first() {
        let preferred = target_preferences(Some("ssh-rsa"));
        assert!(preferred.key[..2].iter().all(|key| key.clone().is_rsa()));
        assert_eq!(preferred.key.len(), KEYS.len());
        assert_eq!(target_preferences(None).key[0], Algorithm::Ed25519);
    }
}
