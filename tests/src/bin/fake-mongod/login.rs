//! Logins by SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: one user, whatever it is called, whose password is
//! known.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

const SALT: &[u8] = b"salt of the fake";
const ROUNDS: u32 = 4096;

/// What one connection has said so far.
#[derive(Default)]
pub struct Login {
    /// The user's first message without its header, and the challenge to it.
    begun: Option<(String, String)>,
    pub done: bool,
    /// Whether it said what client it is.
    pub said_who: bool,
}

impl Login {
    /// `saslStart`.
    pub fn start(&mut self, command: &Document) -> Option<Document> {
        let bare = payload(command)?.strip_prefix("n,,")?.to_owned();
        let nonce = bare.split(',').find_map(|field| field.strip_prefix("r="))?;
        let challenge = format!("r={nonce}fake,s={},i={ROUNDS}", BASE64_STANDARD.encode(SALT));
        let answer = said(&challenge, false);
        self.begun = Some((bare, challenge));
        Some(answer)
    }

    /// `saslContinue`: none where the password is another one.
    pub fn go_on(&mut self, command: &Document, password: &str) -> Option<Document> {
        let (bare, challenge) = self.begun.take()?;
        let payload = payload(command)?;
        let (unproven, proof) = payload.split_once(",p=")?;
        let message = format!("{bare},{challenge},{unproven}");
        let salted = salted(password.as_bytes());
        let stored: [u8; 32] = Sha256::digest(sign(&salted, b"Client Key")).into();
        let signature = sign(&stored, message.as_bytes());
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let key: Vec<u8> = proof.iter().zip(signature).map(|(proof, signed)| proof ^ signed).collect();
        if Sha256::digest(key)[..] != stored {
            return None;
        }
        self.done = true;
        let servers = sign(&sign(&salted, b"Server Key"), message.as_bytes());
        Some(said(&format!("v={}", BASE64_STANDARD.encode(servers)), true))
    }
}

fn payload(command: &Document) -> Option<String> {
    let bytes = match command.get("payload")? {
        Bson::Binary(binary) => binary.bytes.clone(),
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

fn said(text: &str, done: bool) -> Document {
    let payload = Binary { subtype: BinarySubtype::Generic, bytes: text.as_bytes().to_vec() };
    doc! {"conversationId": 1, "payload": payload, "done": done, "ok": 1.0}
}

fn sign(key: &[u8], message: &[u8]) -> [u8; 32] {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn salted(password: &[u8]) -> [u8; 32] {
    let mut round = sign(password, &[SALT, &1_u32.to_be_bytes()].concat());
    let mut sum = round;
    for _ in 1..ROUNDS {
        round = sign(password, &round);
        sum.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}
