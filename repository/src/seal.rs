//! Encryption and naming of the files that we write ourselves: snapshots, locks, amended trees.
//!
//! As restic's design says: AES-256-CTR with Poly1305-AES under the repository's master key, the nonce in front,
//! and a file's name is the SHA-256 of what is stored.

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, aead::Aead};
use rustic_core::{Id, repofile::MasterKey};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};
use standstill_core::{Error, Result};

use crate::fault::Attempt;

const NONCE_LENGTH: usize = 16;

/// The SHA-256 of some bytes, which is the name of everything in a repository.
pub(crate) fn digest(bytes: &[u8]) -> Id {
    Id::new(Sha256::digest(bytes).into())
}

/// The master key, ready for use.
pub(crate) struct Seal(Aes256CtrPoly1305Aes);

impl Seal {
    pub(crate) fn new(master: &MasterKey) -> Self {
        let mut key = Key::default();
        let parts = master.encrypt.iter().chain(&master.mac.k).chain(&master.mac.r);
        for (byte, part) in key.iter_mut().zip(parts) {
            *byte = *part;
        }
        Self(Aes256CtrPoly1305Aes::new(&key))
    }

    /// Encrypts and authenticates.
    pub(crate) fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LENGTH];
        let read =
            getrandom(&mut nonce, GetRandomFlags::empty()).attempt("the system has no random bytes")?;
        if read != NONCE_LENGTH {
            return Err(Error::failed("the system has no random bytes"));
        }
        let sealed = self
            .0
            .encrypt(Nonce::from_slice(&nonce), plain)
            .map_err(|_| Error::failed("a file of the repository cannot be encrypted"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what [`Seal::encrypt`] or another tool with the same key wrote; `None` if it is not authentic.
    pub(crate) fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LENGTH)?;
        self.0.decrypt(Nonce::from_slice(nonce), sealed).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_after_encryption_is_not_decrypted() {
        let seal = Seal::new(&MasterKey::new());
        let mut sealed = seal.encrypt(b"{}").unwrap();
        assert_eq!(seal.decrypt(&sealed).unwrap(), b"{}");
        sealed[20] ^= 1;
        assert_eq!(seal.decrypt(&sealed), None);
        assert_eq!(seal.decrypt(&sealed[..7]), None);
    }
}
