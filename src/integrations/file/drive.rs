//! Google Drive, which allows many files of one name: it is asked before. Lux sees only files
//! that it made, so what is found is its own.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{File, Stored};
use crate::{
    auth::secret,
    integrations::{
        Connection, Trouble,
        call::{Base, Call},
    },
};

const FIELDS: &str = "id,name,webViewLink";

pub(super) async fn put(connection: &Connection, file: &File<'_>) -> Result<Stored, Trouble> {
    if let Some(found) = find(connection, file).await? {
        return Ok(found);
    }
    let mut metadata = json!({"name": file.name, "mimeType": file.kind});
    if let Some(folder) = file.folder {
        metadata["parents"] = json!([folder]);
    }
    // Random, so that no content can hold it.
    let boundary = format!("lux-{}", secret::random()?);
    let body = multipart(&boundary, &metadata, file);
    let kind = format!("multipart/related; boundary={boundary}");
    let mut call = Call::send_bytes("/drive/v3/files", kind, body).to(Base::Content);
    call.query = vec![("uploadType", "multipart".to_owned()), ("fields", FIELDS.to_owned())];
    let answer = connection.json(call).await?;
    stored(&answer).ok_or_else(|| Trouble::Down {
        label: connection.kind().label,
        why: "it did not say which file it made".to_owned(),
    })
}

async fn find(connection: &Connection, file: &File<'_>) -> Result<Option<Stored>, Trouble> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut wanted = format!("name = '{}' and trashed = false", quoted(file.name));
    if let Some(folder) = file.folder {
        // Writing to a String cannot fail.
        let _ = write!(wanted, " and '{}' in parents", quoted(folder));
    }
    let mut call = Call::get("/drive/v3/files");
    call.query =
        vec![("q", wanted), ("pageSize", "1".to_owned()), ("fields", format!("files({FIELDS})"))];
    let answer = connection.json(call).await?;
    Ok(answer["files"].as_array().and_then(|files| stored(files.first()?)))
}

fn stored(file: &Value) -> Option<Stored> {
    let text = |name: &str| file[name].as_str().map(str::to_owned);
    Some(Stored { id: text("id")?, link: text("webViewLink") })
}

fn multipart(boundary: &str, metadata: &Value, file: &File<'_>) -> Vec<u8> {
    let mut body = format!(
        "--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n\
         --{boundary}\r\nContent-Type: {}\r\n\r\n",
        file.kind
    )
    .into_bytes();
    body.extend_from_slice(file.bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}
