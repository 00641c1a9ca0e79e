//! SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides prove that they know the password, and neither sends it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// What a server may ask for: MongoDB's own default is 15,000, the RFC's least 4,096. Beyond, a login would be an attack
/// on the client.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;
/// We bind to no channel: TLS, where it is, is trusted for itself.
const NO_BINDING: &str = "n,,";

type Key = [u8; 32];

/// A login that waits for the server's first message.
pub(super) struct Login {
    bare: String,
    nonce: String,
}

/// A login that waits for the server's proof.
pub(super) struct Proof(Key);

impl Login {
    /// Begins; `nonce` is made of random bytes.
    pub fn of(user: &str, nonce: &[u8]) -> Self {
        let nonce = BASE64_STANDARD.encode(nonce);
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { bare: format!("n={user},r={nonce}"), nonce }
    }

    /// What is sent first.
    pub fn first(&self) -> String {
        format!("{NO_BINDING}{}", self.bare)
    }

    /// What is sent to the server's challenge; `None` if it is none.
    pub fn answer(&self, challenge: &str, password: &str) -> Option<(String, Proof)> {
        let field = |name: &str| challenge.split(',').find_map(|field| field.strip_prefix(name));
        let nonce = field("r=").filter(|nonce| nonce.starts_with(&self.nonce) && *nonce != self.nonce)?;
        let salt = BASE64_STANDARD.decode(field("s=")?).ok()?;
        let rounds: u32 = field("i=")?.parse().ok().filter(|rounds| ROUNDS.contains(rounds))?;
        // As the server does with what a user is made with; what is no text for it is taken as it is.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let salted = salted(prepared.as_bytes(), &salt, rounds)?;
        let own = hmac(&salted, &[b"Client Key"])?;
        let unproven = format!("c={},r={nonce}", BASE64_STANDARD.encode(NO_BINDING));
        let said = format!("{},{challenge},{unproven}", self.bare);
        let signature = hmac(&Sha256::digest(own).into(), &[said.as_bytes()])?;
        let proof: Vec<u8> = own.iter().zip(signature).map(|(key, signed)| key ^ signed).collect();
        let servers = hmac(&hmac(&salted, &[b"Server Key"])?, &[said.as_bytes()])?;
        Some((format!("{unproven},p={}", BASE64_STANDARD.encode(proof)), Proof(servers)))
    }
}

impl Proof {
    /// Whether the server knows the password, too.
    pub fn holds(&self, last: &str) -> bool {
        let given = last.split(',').find_map(|field| field.strip_prefix("v="));
        given.and_then(|given| BASE64_STANDARD.decode(given).ok()).is_some_and(|given| given == self.0)
    }
}

fn hmac(key: &Key, parts: &[&[u8]]) -> Option<Key> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().into())
}

/// PBKDF2 with HMAC-SHA-256 and one block.
fn salted(password: &[u8], salt: &[u8], rounds: u32) -> Option<Key> {
    let keyed = Hmac::<Sha256>::new_from_slice(password).ok()?;
    let sign = |parts: &[&[u8]]| -> Key {
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    };
    let mut round = sign(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = round;
    for _ in 1..rounds {
        round = sign(&[&round]);
        sum.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn a_login_is_that_of_the_standard() {
        let mut login = Login::of("user", b"");
        login.nonce = "rOprNGfwEbeRWgbNEkqO".into();
        login.bare = format!("n=user,r={}", login.nonce);
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (answer, proof) = login.answer(challenge, "pencil").unwrap();
        assert!(answer.ends_with("p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), "{answer}");
        assert!(proof.holds("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!proof.holds("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="));
        assert!(!proof.holds("e=other-error"));
    }

    #[test]
    fn a_challenge_that_is_not_ours_or_costs_too_much_is_refused() {
        let login = Login::of("a,b=c", b"nonce");
        assert!(login.first().starts_with("n,,n=a=2Cb=3Dc,r="));
        let nonce = &login.nonce;
        for challenge in [
            "r=another,s=AAAA,i=4096".to_owned(),
            format!("r={nonce},s=AAAA,i=4096"),
            format!("r={nonce}x,s=AAAA,i=1"),
            format!("r={nonce}x,s=AAAA,i=4000000000"),
            format!("r={nonce}x,s=?,i=4096"),
            String::new(),
        ] {
            assert!(login.answer(&challenge, "p").is_none(), "{challenge}");
        }
        assert!(login.answer(&format!("r={nonce}x,s=AAAA,i=4096"), "p").is_some());
    }
}
