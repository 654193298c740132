//! Messages into a channel of Slack. What they hold was written by strangers in part: it calls
//! nobody, links nowhere and shows no secret.

mod words;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Connection, Trouble,
    call::{Answer, Call},
};

pub use words::{inert, section};

/// Channels of one page, and pages that are read.
const PAGE: &str = "200";
const PAGES: usize = 25;

/// Sections of a message.
const SECTIONS: usize = 4;

/// The longest title, in characters.
const TITLE: usize = 140;

/// Where a message may go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = MessageChannel)]
pub struct Channel {
    /// "C0123".
    pub id: String,
    /// Without "#".
    pub name: String,
    /// Lux is in it; into another one it may write all the same if that is public.
    pub is_member: bool,
}

/// What is to be said. Texts are taken as they are and made harmless here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    pub title: String,
    pub text: String,
    /// The page of Lux that tells more.
    pub url: Option<String>,
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub channel: String,
    /// Slack's name for it within the channel.
    pub ts: String,
}

impl Posted {
    /// As one word, to be kept.
    pub fn key(&self) -> String {
        format!("{}/{}", self.channel, self.ts)
    }

    /// What [`Posted::key`] made.
    pub fn read(key: &str) -> Option<Self> {
        let (channel, ts) = key.split_once('/')?;
        Some(Self { channel: channel.to_owned(), ts: ts.to_owned() })
    }
}

/// The public channels, by name; at most 5000.
pub async fn channels(connection: &Connection) -> Result<Vec<Channel>, Trouble> {
    let mut found: Vec<Channel> = Vec::new();
    let mut cursor = String::new();
    for _ in 0..PAGES {
        let mut call = Call::get("/conversations.list");
        call.query = vec![
            ("limit", PAGE.to_owned()),
            ("exclude_archived", "true".to_owned()),
            ("types", "public_channel".to_owned()),
        ];
        if !cursor.is_empty() {
            call.query.push(("cursor", cursor.clone()));
        }
        let page = connection.json(call).await?;
        let rows = page["channels"].as_array().into_iter().flatten();
        found.extend(rows.filter_map(|row| {
            Some(Channel {
                id: row["id"].as_str()?.to_owned(),
                name: row["name"].as_str()?.to_owned(),
                is_member: row["is_member"].as_bool().unwrap_or_default(),
            })
        }));
        let next = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str);
        next.unwrap_or_default().clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Sends a message. Slack takes it again if it is sent again: a caller that does not know whether
/// it arrived must not.
pub async fn post(
    connection: &Connection,
    channel: &str,
    notice: &Notice,
) -> Result<Posted, Trouble> {
    let mut body = body(channel, notice);
    body["unfurl_links"] = json!(false);
    body["unfurl_media"] = json!(false);
    let Answer { body, .. } = connection.send(Call::post("/chat.postMessage", body)).await?;
    let part = |name: &str| body[name].as_str().map(str::to_owned);
    Ok(Posted {
        channel: part("channel").unwrap_or_else(|| channel.to_owned()),
        ts: part("ts").unwrap_or_default(),
    })
}

/// Puts another text in the place of a message that was sent.
pub async fn update(
    connection: &Connection,
    posted: &Posted,
    notice: &Notice,
) -> Result<(), Trouble> {
    let mut body = body(&posted.channel, notice);
    body["ts"] = json!(posted.ts);
    connection.send(Call::post("/chat.update", body).harmless()).await.map(drop)
}

/// `text` is what a notification shows, the blocks are the message.
fn body(channel: &str, notice: &Notice) -> Value {
    let title: String = notice.title.split_whitespace().collect::<Vec<_>>().join(" ");
    let title: String = title.chars().take(TITLE).collect();
    let words = |text: String| {
        let text = json!({"type": "mrkdwn", "text": text, "verbatim": true});
        json!({"type": "section", "text": text})
    };
    let mut blocks = Vec::new();
    if !title.is_empty() {
        blocks.push(words(format!("*{}*", inert(&title).replace('*', ""))));
    }
    let parts = section(&inert(&notice.text));
    blocks.extend(parts.into_iter().take(SECTIONS).map(words));
    if let Some(url) = &notice.url {
        // Lux's own address, which holds none of these.
        let url: String = url.chars().filter(|c| !matches!(c, '<' | '>' | '|')).collect();
        blocks.push(words(format!("<{url}|Open in Lux>")));
    }
    let first = if title.is_empty() { notice.text.as_str() } else { title.as_str() };
    let text: String = inert(first).chars().take(TITLE * 4).collect();
    let text = if text.trim().is_empty() { "Lux".to_owned() } else { text };
    json!({"channel": channel, "text": text, "blocks": blocks})
}

#[cfg(test)]
mod tests {
    use super::{Notice, Posted, body};

    #[test]
    fn a_message_has_a_title_its_words_and_a_link() {
        let notice = Notice {
            title: "Storm in <shop>\n".to_owned(),
            text: "x".repeat(20_000),
            url: Some("https://lux.example.com/errors/7".to_owned()),
        };
        let body = body("C1", &notice);
        let blocks = body["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 6);
        assert_eq!(blocks[0]["text"]["text"], "*Storm in &lt;shop&gt;*");
        assert!(blocks.iter().all(|it| it["text"]["text"].as_str().unwrap().len() <= 3000));
        assert_eq!(blocks[5]["text"]["text"], "<https://lux.example.com/errors/7|Open in Lux>");
        assert_eq!(body["text"], "Storm in &lt;shop&gt;");
    }

    #[test]
    fn where_it_is_can_be_kept() {
        let posted = Posted { channel: "C1".to_owned(), ts: "17.000001".to_owned() };
        assert_eq!(Posted::read(&posted.key()), Some(posted));
        assert_eq!(Posted::read("C1"), None);
    }
}
