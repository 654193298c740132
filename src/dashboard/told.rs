//! What was done, told on the next page: a toast, with its undoing where there is one.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

/// One toast. It travels in a cookie that the next page takes away: it is the person's own
/// browser that brings it, and it is shown as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// One sentence: what was done.
    pub text: String,
    /// It went wrong, or not wholly right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bad: bool,
    /// A form that takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

/// What is posted to take something back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// A path of ours.
    pub action: String,
    pub fields: BTreeMap<String, String>,
}

const NAME: &str = "lux-told";
/// Browsers drop cookies of more than 4096 bytes.
const LONGEST: usize = 3000;

impl Told {
    pub fn done(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), bad: true, undo: None }
    }

    /// Adds the form that takes it back.
    #[must_use]
    pub fn undo(mut self, action: &str, fields: BTreeMap<String, String>) -> Self {
        self.undo = Some(Undo { action: action.to_owned(), fields });
        self
    }

    /// As the cookie that the next page reads; without its undoing if that is too long.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        if text.len() > LONGEST {
            let short = Self { undo: None, ..self.clone() };
            text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&short).ok()?);
        }
        let text = text.get(..text.len().min(LONGEST))?;
        HeaderValue::from_str(&format!(
            "{NAME}={text}; Path=/; HttpOnly; SameSite=Strict; Max-Age=60"
        ))
        .ok()
    }

    /// What a browser brings along.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut pairs = cookies.flat_map(|text| text.split(';'));
        let value = pairs.find_map(|pair| pair.trim().strip_prefix("lux-told="))?;
        let told: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value).ok()?).ok()?;
        let own = |undo: &Undo| undo.action.starts_with('/') && !undo.action.starts_with("//");
        Some(Self { undo: told.undo.clone().filter(own), ..told })
    }

    /// Takes the cookie away.
    pub(super) const CLEARED: HeaderValue =
        HeaderValue::from_static("lux-told=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::COOKIE};

    use super::Told;

    fn brought(told: &Told) -> Option<Told> {
        let cookie = told.cookie().unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(&format!("a=b; {pair}")).unwrap());
        Told::read(&headers)
    }

    #[test]
    fn it_arrives() {
        let fields = [("ids".to_owned(), "1,2".to_owned())].into();
        let told = Told::done("2 errors muted").undo("/errors/bulk", fields);
        assert_eq!(brought(&told), Some(told));
    }

    #[test]
    fn undoing_stays_here() {
        for action in ["https://evil.example/", "//evil.example", "javascript:x"] {
            let told = brought(&Told::done("x").undo(action, [].into())).unwrap();
            assert_eq!(told.undo, None, "{action}");
        }
    }

    #[test]
    fn a_long_undoing_is_left_out() {
        let fields = [("ids".to_owned(), "1".repeat(5000))].into();
        let told = brought(&Told::done("many").undo("/errors/bulk", fields)).unwrap();
        assert_eq!(told, Told::done("many"));
    }
}
