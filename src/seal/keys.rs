//! The master keys: where they come from, and what is derived from them.

use std::{
    fmt, fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, RandomizedNonceKey},
    digest, hkdf, rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretSlice, SecretString, zeroize::Zeroize};

use crate::{
    config::KeyOrigin,
    error::{Error, Result},
};

/// Bytes of a master key.
const LENGTH: usize = 32;

/// Keys in one file: ample for a key each month while old ones are still in use.
const MAX_KEYS: usize = 100;

/// What a key is called: the first four bytes of its SHA-256, as hex. It stands beside
/// everything that the key sealed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    fn of(key: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, key);
        let start = digest.as_ref().first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
        Self(format!("{start:08x}"))
    }

    /// As it stands in what was sealed; `None` if it cannot be one.
    pub(super) fn read(text: &str) -> Option<Self> {
        let fits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// For people.
pub(super) fn describe(origin: &KeyOrigin) -> String {
    match origin {
        KeyOrigin::Own(path) | KeyOrigin::Given(path) | KeyOrigin::Credential(path) => {
            path.display().to_string()
        }
        KeyOrigin::Environment(_) => "LUX_MASTER_KEY".to_owned(),
    }
}

fn path(origin: &KeyOrigin) -> Option<&Path> {
    match origin {
        KeyOrigin::Own(path) | KeyOrigin::Given(path) | KeyOrigin::Credential(path) => Some(path),
        KeyOrigin::Environment(_) => None,
    }
}

/// Whether there is anything yet.
pub(super) fn exists(origin: &KeyOrigin) -> bool {
    path(origin).is_none_or(Path::exists)
}

/// Inode, time in seconds and nanoseconds, and length of a file.
pub(super) type Version = (u64, i64, i64, u64);

/// Changes whenever the file does; the environment does not.
pub(super) fn version(origin: &KeyOrigin) -> Option<Version> {
    let found = fs::metadata(path(origin)?).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

fn text(origin: &KeyOrigin) -> Result<SecretString> {
    let path = match origin {
        KeyOrigin::Environment(text) => return Ok(text.clone()),
        KeyOrigin::Own(path) | KeyOrigin::Given(path) | KeyOrigin::Credential(path) => path,
    };
    let shown = path.display();
    let told = |error| {
        Error::Invalid(format!(
            "the master key cannot be read from {shown}: {error}; give this user the right to \
             read it, or name another file with LUX_MASTER_KEY_FILE"
        ))
    };
    let mode = fs::metadata(path).map_err(told)?.permissions().mode();
    // systemd gives credentials the rights that it sees fit, in a folder of the unit's own.
    if mode & 0o077 != 0 && !matches!(origin, KeyOrigin::Credential(_)) {
        return Err(Error::Invalid(format!(
            "others may read the master key in {shown}; chmod 600 it"
        )));
    }
    fs::read_to_string(path).map(SecretString::from).map_err(told)
}

/// One key, ready to seal with.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) aead: RandomizedNonceKey,
    master: SecretSlice<u8>,
}

impl Key {
    fn new(master: Vec<u8>) -> Result<Self> {
        let mut bytes = [0; LENGTH];
        derive(&master, "seal", &mut bytes)?;
        let aead = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| anyhow::anyhow!("a key for sealing could not be made"))?;
        bytes.zeroize();
        Ok(Self { id: KeyId::of(&master), aead, master: master.into() })
    }

    /// Another key from this one, for another purpose.
    pub(super) fn derive(&self, label: &str) -> Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        derive(self.master.expose_secret(), label, &mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        LENGTH
    }
}

/// HKDF-SHA256 (RFC 5869) with the label as its info.
fn derive(master: &[u8], label: &str, out: &mut [u8; LENGTH]) -> Result<()> {
    let info = format!("lux {label} v1");
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"")
        .extract(master)
        .expand(&[info.as_bytes()], Length)
        .and_then(|key| key.fill(out))
        .map_err(|_| anyhow::anyhow!("a key could not be derived").into())
}

/// All keys; the first seals, each opens what it sealed.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Vec<Key>);

impl Keys {
    pub(super) fn read(origin: &KeyOrigin) -> Result<Self> {
        let (text, shown) = (text(origin)?, describe(origin));
        let mut keys: Vec<Key> = Vec::new();
        let lines = text.expose_secret().lines().enumerate();
        for (number, line) in lines.map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = STANDARD.decode(line).ok().filter(|bytes| bytes.len() == LENGTH);
            let Some(bytes) = bytes else {
                return Err(Error::Invalid(format!(
                    "line {number} of the master keys in {shown} is no key: each is {LENGTH} bytes \
                     as base64, as `head -c {LENGTH} /dev/urandom | base64` makes them"
                )));
            };
            let key = Key::new(bytes)?;
            if keys.iter().all(|known| known.id != key.id) {
                keys.push(key);
            }
            if keys.len() > MAX_KEYS {
                return Err(Error::Invalid(format!(
                    "{shown} has more than {MAX_KEYS} keys; `lux keys remove` those that seal nothing"
                )));
            }
        }
        if keys.is_empty() {
            return Err(Error::Invalid(format!("there is no master key in {shown}")));
        }
        Ok(Self(keys))
    }

    pub(super) fn find(&self, id: &KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == *id)
    }
}

/// A new key as a line of the file.
pub(super) fn new_line() -> Result<Line> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes)
        .map_err(|_| Error::Unavailable("the system gave no random bytes".to_owned()))?;
    let line = (KeyId::of(&bytes), STANDARD.encode(bytes).into());
    bytes.zeroize();
    Ok(line)
}

/// A line of the file, and the name of the key that it is.
pub(super) type Line = (KeyId, SecretString);

/// Lets `change` see the keys of the file (none if there is no file) and writes what it gives
/// back. Two programs that change it do so after one another, or a key would be lost.
pub(super) fn change(
    path: &Path,
    change: impl FnOnce(Vec<Line>) -> Result<Vec<Line>>,
) -> Result<()> {
    let lock = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.with_extension("key.lock"))?;
    lock.lock()?;
    let found = if path.exists() { lines(path)? } else { Vec::new() };
    let known: Vec<KeyId> = found.iter().map(|(id, _)| id.clone()).collect();
    let wanted = change(found)?;
    if known.iter().eq(wanted.iter().map(|(id, _)| id)) {
        return Ok(());
    }
    write(path, &wanted)
}

/// Writes the file anew, whole or not at all; only this user may read it.
fn write(path: &Path, lines: &[Line]) -> Result<()> {
    let beside = path.with_extension("key.new");
    // What a write that was cut short left behind.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(
        file,
        "# Lux's master keys; the first seals. Back this file up apart from the database."
    )?;
    for (_, line) in lines {
        writeln!(file, "{}", line.expose_secret())?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The lines of the file that hold keys, with the id of each.
fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = SecretString::from(fs::read_to_string(path)?);
    let lines = text.expose_secret().lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let key = STANDARD.decode(line).map_err(|_| Error::invalid("a line is no key"))?;
            Ok((KeyId::of(&key), line.to_owned().into()))
        })
        .collect()
}
