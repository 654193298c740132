//! Secrets at rest: sealed with AES-256-GCM under a master key that does not stand in the
//! database, and bound to the very field that they are kept in, so that what is copied to
//! another row cannot be opened there.
//!
//! It does not help against whoever controls the running program.

mod keys;
mod lasting;
mod rotate;
mod store;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;

use crate::{
    config::KeyOrigin,
    error::{Error, Result},
};

pub use keys::KeyId;
pub use lasting::{Keyed, Lasting};
pub use rotate::{Count, Rotated, count, forget, remove, rotate};
pub use store::{check, look};

use keys::Keys;

/// What sealed texts begin with: the form and the algorithm.
const FORM: &str = "lx1";

/// The field that a secret is kept in. What was sealed for one cannot be opened for another.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub table: &'static str,
    pub column: &'static str,
    /// The row's primary key as text; given before the row is inserted.
    pub row: &'a str,
}

impl Field<'_> {
    fn bound(&self) -> Vec<u8> {
        format!("lux|v1|{}|{}|{}", self.table, self.column, self.row).into_bytes()
    }
}

/// Seals and opens. Cheap to clone; a key that was added to the file is known at once.
#[derive(Clone)]
pub struct Sealer(Arc<Shared>);

struct Shared {
    origin: KeyOrigin,
    read: RwLock<Read>,
}

/// The keys, and which version of the file they are.
struct Read {
    keys: Arc<Keys>,
    version: Option<keys::Version>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// Reads the keys. Where Lux keeps them itself and there are none yet, `may_make` says
    /// whether one is made: not if the database knows of keys, for then this would be another.
    pub fn open_keys(origin: KeyOrigin, may_make: bool) -> Result<Self> {
        if !keys::exists(&origin) {
            let KeyOrigin::Own(path) = &origin else {
                let shown = keys::describe(&origin);
                return Err(Error::Invalid(format!("there is no file {shown} with a master key")));
            };
            if !may_make {
                return Err(Error::Invalid(format!(
                    "the database holds sealed secrets, but the master key {} is missing; put it \
                     back from its backup (nothing was changed), or start with an empty database",
                    path.display()
                )));
            }
            // Another process that starts at the same time may have been first.
            keys::change(path, |known| {
                if known.is_empty() { Ok(vec![keys::new_line()?]) } else { Ok(known) }
            })?;
            tracing::info!(
                path = %path.display(),
                "a master key was made; back it up apart from the database"
            );
        }
        if let KeyOrigin::Environment(_) = origin {
            tracing::warn!(
                "the master key stands in the environment, which other programs of this user can \
                 read; a file (LUX_MASTER_KEY_FILE) or a credential of systemd is safer"
            );
        }
        let (version, keys) = (keys::version(&origin), Arc::new(Keys::read(&origin)?));
        Ok(Self(Arc::new(Shared { origin, read: RwLock::new(Read { keys, version }) })))
    }

    /// The keys as the file has them now. A file that cannot be read any more changes nothing.
    fn keys(&self) -> Arc<Keys> {
        let version = keys::version(&self.0.origin);
        let read = self.0.read.read().unwrap_or_else(PoisonError::into_inner);
        if read.version == version || version.is_none() {
            return Arc::clone(&read.keys);
        }
        drop(read);
        match Keys::read(&self.0.origin) {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let mut read = self.0.read.write().unwrap_or_else(PoisonError::into_inner);
                *read = Read { keys: Arc::clone(&keys), version };
                keys
            }
            Err(error) => {
                tracing::error!(%error, "the master keys changed and cannot be read");
                let read = self.0.read.read().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(&read.keys)
            }
        }
    }

    /// Where the keys stand, for people.
    pub fn place(&self) -> String {
        keys::describe(&self.0.origin)
    }

    /// Where the keys stand.
    pub fn origin(&self) -> &KeyOrigin {
        &self.0.origin
    }

    /// All keys' names, the one that seals first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys().0.iter().map(|key| key.id.clone()).collect()
    }

    /// Seals a text for one field: `lx1.<key>.<nonce, text and tag as base64>`.
    pub fn seal(&self, field: Field<'_>, plain: &str) -> Result<String> {
        let keys = self.keys();
        // `read` refuses a file without keys.
        let Some(key) = keys.0.first() else { return Err(anyhow::anyhow!("no key").into()) };
        let mut text = plain.as_bytes().to_vec();
        let nonce = key
            .aead
            .seal_in_place_append_tag(Aad::from(field.bound()), &mut text)
            .map_err(|_| anyhow::anyhow!("sealing failed"))?;
        let sealed = [nonce.as_ref().as_slice(), &text].concat();
        Ok(format!("{FORM}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what was sealed for this field.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if its key is not there, or it is not what was sealed for this
    /// field: connect the account again, or bring the key back.
    pub fn open(&self, field: Field<'_>, sealed: &str) -> Result<SecretString> {
        let refused = |why: &str| {
            let Field { table, column, row } = field;
            Error::Unavailable(format!(
                "what {table}.{column} of {row} holds cannot be opened: {why}"
            ))
        };
        let id = key_of(sealed).ok_or_else(|| refused("it is not sealed"))?;
        let keys = self.keys();
        let key = keys.find(&id);
        let key =
            key.ok_or_else(|| refused(&format!("its key {id} is not among the master keys")))?;
        let body = sealed.rsplit('.').next().unwrap_or_default();
        let mut bytes = URL_SAFE_NO_PAD
            .decode(body)
            .ok()
            .filter(|bytes| bytes.len() >= NONCE_LEN)
            .ok_or_else(|| refused("it is cut"))?;
        let changed = "it was changed, or belongs to another field";
        let mut text = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| refused(changed))?;
        let plain = key
            .aead
            .open_in_place(nonce, Aad::from(field.bound()), &mut text)
            .map_err(|_| refused(changed))?;
        let plain = std::str::from_utf8(plain).map_err(|_| refused(changed))?;
        Ok(plain.to_owned().into())
    }

    /// A key for another purpose ("blind-index"), from the one that seals. It changes when the
    /// keys are rotated.
    pub fn derive(&self, label: &str) -> Result<[u8; 32]> {
        let keys = self.keys();
        let Some(key) = keys.0.first() else { return Err(anyhow::anyhow!("no key").into()) };
        key.derive(label)
    }
}

/// The name of the key that sealed a text; `None` if it is not sealed.
fn key_of(sealed: &str) -> Option<KeyId> {
    let mut parts = sealed.splitn(3, '.');
    (parts.next()? == FORM).then_some(())?;
    let id = KeyId::read(parts.next()?)?;
    parts.next().map(|_| id)
}
