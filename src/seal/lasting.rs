//! Keys that outlive the master key: what is signed or hashed with them is kept for years (links
//! in mails, hashes of addresses), and must be known again after a rotation. Each is random, made
//! when it is first needed, and sealed in the database like any secret.

use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, zeroize::Zeroize};
use tokio::sync::OnceCell;

use super::{Field, Sealer};
use crate::{
    clock,
    db::{self, Db},
    error::Result,
};

/// Bytes of a key.
const LENGTH: usize = 32;

/// The name of the one that all purposes are derived from.
const NAME: &str = "hmac";

/// Bytes of a signature: half of SHA-256 is beyond guessing, and links stay short.
const SIGNATURE: usize = 16;

/// Where the lasting key comes from. Cheap to clone.
#[derive(Clone)]
pub struct Lasting(Arc<Source>);

struct Source {
    db: Db,
    sealer: Sealer,
    read: OnceCell<Keyed>,
}

impl Lasting {
    pub fn new(db: Db, sealer: Sealer) -> Self {
        Self(Arc::new(Source { db, sealer, read: OnceCell::new() }))
    }

    /// The key; the first call of all makes it.
    pub async fn keyed(&self) -> Result<&Keyed> {
        self.0.read.get_or_try_init(|| read(&self.0.db, &self.0.sealer)).await
    }
}

async fn read(db: &Db, sealer: &Sealer) -> Result<Keyed> {
    let field = Field { table: "lasting_key", column: "sealed", row: NAME };
    let mut found = stored(db).await?;
    if found.is_none() {
        let mut bytes = [0; LENGTH];
        rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gave no random bytes"))?;
        let mut text = STANDARD.encode(bytes);
        bytes.zeroize();
        let sealed = sealer.seal(field, &text)?;
        text.zeroize();
        // Another replica may be first: then its key counts.
        db.query(
            "insert into lasting_key (name, sealed, created_at) values ($1, $2, $3)
             on conflict (name) do nothing",
        )
        .bind(NAME)
        .bind(sealed)
        .bind(clock::now())
        .run()
        .await?;
        found = stored(db).await?;
    }
    let (sealed,) = found.ok_or_else(|| anyhow::anyhow!("the lasting key was not stored"))?;
    let text = sealer.open(field, &sealed)?;
    let mut bytes = STANDARD
        .decode(text.expose_secret())
        .map_err(|_| anyhow::anyhow!("the lasting key is cut"))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    bytes.zeroize();
    Ok(Keyed(key))
}

async fn stored(db: &Db) -> db::Result<Option<(String,)>> {
    db.query("select sealed from lasting_key where name = $1").bind(NAME).optional().await
}

/// Signs and hashes. `purpose` keeps what was made for one from counting for another.
#[derive(Clone)]
pub struct Keyed(hmac::Key);

impl Keyed {
    fn tag(&self, purpose: &str, bytes: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(bytes);
        context.sign()
    }

    /// HMAC-SHA256 of a text as base64: the same for the same text, and no way back.
    pub fn hash(&self, purpose: &str, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.tag(purpose, text.as_bytes()))
    }

    /// The bytes and their signature, as one word for an address.
    pub fn sign(&self, purpose: &str, bytes: &[u8]) -> String {
        let tag = self.tag(purpose, bytes);
        let signature = tag.as_ref().get(..SIGNATURE).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([bytes, signature].concat())
    }

    /// The bytes of what [`Keyed::sign`] made for this purpose; `None` for anything else.
    pub fn open(&self, purpose: &str, signed: &str) -> Option<Vec<u8>> {
        if signed.len() > 512 {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(signed).ok()?;
        let at = bytes.len().checked_sub(SIGNATURE)?;
        let given = bytes.split_off(at);
        let tag = self.tag(purpose, &bytes);
        let signature = tag.as_ref().get(..SIGNATURE)?;
        let same: bool = subtle::ConstantTimeEq::ct_eq(signature, given.as_slice()).into();
        same.then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::Keyed;

    #[test]
    fn only_what_was_signed_for_a_purpose_is_opened() {
        let keyed = Keyed(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
        let signed = keyed.sign("a", b"12345");
        assert_eq!(keyed.open("a", &signed).as_deref(), Some(&b"12345"[..]));
        assert_eq!(keyed.open("b", &signed), None);
        let other = Keyed(hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]));
        assert_eq!(other.open("a", &signed), None);
        for at in 0..signed.len() {
            let mut changed = signed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last letter holds bits that mean nothing; those are refused, too.
            assert_eq!(keyed.open("a", &changed), None, "{at}");
        }
        for nothing in ["", "A", "....", &"A".repeat(600)] {
            assert_eq!(keyed.open("a", nothing), None);
        }
        assert_ne!(keyed.hash("a", "x"), keyed.hash("b", "x"));
    }
}
