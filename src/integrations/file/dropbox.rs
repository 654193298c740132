//! Dropbox. The same bytes under the same path are the same file to it; what it is to do lies in
//! a header, which holds ASCII only.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{File, Stored};
use crate::integrations::{
    Connection, Trouble,
    call::{Base, Call, segment},
};

pub(super) async fn put(connection: &Connection, file: &File<'_>) -> Result<Stored, Trouble> {
    let path = path(file);
    let argument = json!({"path": path, "mode": "add", "autorename": false, "mute": true});
    let call = Call::send_bytes("/2/files/upload", "application/octet-stream", file.bytes.to_vec())
        .to(Base::Content)
        .header("dropbox-api-arg", ascii(&argument))
        .harmless();
    let answer = connection.json(call).await?;
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    // The owner's own page of it: a link for others would need a permission that Lux does not
    // ask for.
    let shown = text("path_display").unwrap_or(path);
    let parts: Vec<String> = shown.split('/').map(|part| segment(part).into_owned()).collect();
    let link = format!("https://www.dropbox.com/home{}", parts.join("/"));
    Ok(Stored { id: text("id").unwrap_or(shown), link: Some(link) })
}

fn path(file: &File<'_>) -> String {
    let folder = file.folder.unwrap_or("/Lux").trim().trim_matches('/');
    let name = file.name.replace('/', "-");
    if folder.is_empty() { format!("/{name}") } else { format!("/{folder}/{name}") }
}

/// JSON of ASCII alone: all else as `\uXXXX`, in two halves where it takes two.
fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if (' '..='~').contains(&c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{File, ascii, path};
    use serde_json::{Value, json};

    #[test]
    fn a_header_holds_ascii_only() {
        let value = json!({"path": "/Lux/Bericht Zürich 日本 🦀\u{7f}\".md"});
        let text = ascii(&value);
        assert!(text.is_ascii() && !text.contains('\u{7f}'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_path_is_one_of_dropbox() {
        let of = |folder| path(&File { folder, name: "a/b.md", kind: "", bytes: &[] });
        assert_eq!(of(None), "/Lux/a-b.md");
        assert_eq!(of(Some("Berichte/2026/")), "/Berichte/2026/a-b.md");
        assert_eq!(of(Some("/")), "/a-b.md");
    }
}
