//! Files into a drive. A file of one name is put there once: it is looked for, or the provider
//! itself knows it again, so an upload whose end nobody saw is simply made again.

mod drive;
mod dropbox;

use super::{Connection, Trouble};
use crate::error::Error;

/// A file to be stored.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// The id of a folder (Google Drive) or its path (Dropbox); the provider's own place if none.
    pub folder: Option<&'a str>,
    pub name: &'a str,
    /// "text/markdown".
    pub kind: &'a str,
    pub bytes: &'a [u8],
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub id: String,
    /// Where people look at it.
    pub link: Option<String>,
}

/// Stores a file, or finds the one that is there under its name.
pub async fn put(connection: &Connection, file: &File<'_>) -> Result<Stored, Trouble> {
    match connection.kind().key {
        "google_drive" => drive::put(connection, file).await,
        "dropbox" => dropbox::put(connection, file).await,
        other => Err(Error::Conflict(format!("{other} keeps no files")).into()),
    }
}
