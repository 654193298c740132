//! What an SDK tells of an error besides its type, message and stack: frames with their
//! surroundings and variables, the request, breadcrumbs, contexts. Bounded, packed and kept
//! beside the event; nothing is searched in it.

use std::{borrow::Cow, cell::RefCell, io::Read};

use serde::{Deserialize, Serialize};

use super::{event::MAX_DETAIL, tree::Tree};

/// The most that a packed detail may unpack to, in bytes.
const MAX_UNPACKED: u64 = 64 << 20;

/// What is kept of an event besides its columns. Texts, lists and depths are bounded; what is
/// missing is said where it was (`… [cut]`, `… [120 bytes cut]`, `frames_cut`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = EventDetail)]
pub struct Detail<'a> {
    /// "python", "javascript", "java", …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub platform: Option<Cow<'a, str>>,
    /// What was raised, the first cause first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request<'a>>,
    /// Who was affected, as the SDK tells it: id, email, username, ip_address, ….
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub user: Tree<'a>,
    /// What happened before, the last 100 steps, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breadcrumbs: Vec<Breadcrumb<'a>>,
    /// Name → object: "runtime", "os", "browser", "trace", ….
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub contexts: Tree<'a>,
    /// What the program added.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub extra: Tree<'a>,
    /// The message before its parameters were put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub template: Option<Cow<'a, str>>,
    /// Those parameters.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub params: Tree<'a>,
    /// The route, view or task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub transaction: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub logger: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub server_name: Option<Cow<'a, str>>,
    /// Which build of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub dist: Option<Cow<'a, str>>,
    /// "sentry.python.flask 2.40.0"
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub sdk: Option<Cow<'a, str>>,
    /// Installed libraries: name → version.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub modules: Tree<'a>,
    /// Whole parts that were left out because all together were too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub left_out: Vec<Cow<'a, str>>,
}

/// One exception of a chain or group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = EventException)]
pub struct Exception<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub module: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<Mechanism<'a>>,
    /// The outermost call first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame<'a>>,
    /// How many frames are missing in the middle.
    #[serde(skip_serializing_if = "is_zero")]
    pub frames_cut: usize,
}

/// How an exception was caught, and what it has to do with the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = EventMechanism)]
pub struct Mechanism<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Cow<'a, str>>,
    /// False: nobody caught it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled: Option<bool>,
    /// By which attribute the parent holds it: `__cause__`, `exceptions[0]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<i64>,
    #[serde(skip_serializing_if = "is_false")]
    pub is_exception_group: bool,
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub data: Tree<'a>,
}

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = EventFrame)]
pub struct Frame<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub function: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub module: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub filename: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub abs_path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lineno: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colno: Option<u32>,
    /// What the SDK thinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_app: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub pre_context: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub context_line: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub post_context: Vec<Cow<'a, str>>,
    /// Local variables, at most 50.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub vars: Tree<'a>,
}

/// The request that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = EventRequest)]
pub struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub method: Option<Cow<'a, str>>,
    /// A text, or names with values.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub query_string: Tree<'a>,
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub headers: Tree<'a>,
    /// Their names; the values are not kept.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub cookies: Tree<'a>,
    /// The body, as the SDK read it.
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub data: Tree<'a>,
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub env: Tree<'a>,
}

/// A step before the error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
#[schema(as = EventBreadcrumb)]
pub struct Breadcrumb<'a> {
    /// As it was sent: RFC 3339, or seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timestamp: Option<Cow<'a, str>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub category: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub level: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub message: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Tree::is_empty")]
    #[schema(value_type = Object)]
    pub data: Tree<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(truth: &bool) -> bool {
    !truth
}

thread_local! {
    /// A compressor's tables are larger than most details; they are made once a thread.
    static PACKER: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

impl Detail<'_> {
    /// As it is stored: JSON, compressed. At most [`MAX_DETAIL`] bytes; what makes it too large
    /// is left out, the least telling first.
    pub fn pack(mut self) -> anyhow::Result<Vec<u8>> {
        type Part = (&'static str, fn(&mut Detail<'_>));
        let parts: [Part; 5] = [
            ("vars", |detail| {
                let frames = detail.exceptions.iter_mut().flat_map(|e| &mut e.frames);
                frames.for_each(|frame| frame.vars = Tree::Null);
            }),
            ("extra", |detail| detail.extra = Tree::Null),
            ("breadcrumbs", |detail| detail.breadcrumbs.clear()),
            ("contexts", |detail| detail.contexts = Tree::Null),
            ("request", |detail| detail.request = None),
        ];
        let mut packed = self.packed()?;
        for (name, leave_out) in parts {
            if packed.len() <= MAX_DETAIL {
                break;
            }
            leave_out(&mut self);
            self.left_out.push(Cow::Borrowed(name));
            packed = self.packed()?;
        }
        anyhow::ensure!(packed.len() <= MAX_DETAIL, "the detail has {} bytes", packed.len());
        Ok(packed)
    }

    fn packed(&self) -> anyhow::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        PACKER.with_borrow_mut(|packer| {
            let packer = match packer {
                Some(packer) => packer,
                None => packer.insert(zstd::bulk::Compressor::new(1)?),
            };
            Ok(packer.compress(&json)?)
        })
    }

    /// What [`Detail::pack`] made.
    pub fn unpack(packed: &[u8]) -> anyhow::Result<Detail<'static>> {
        let mut json = Vec::with_capacity(packed.len() * 4);
        let unpacking = zstd::stream::read::Decoder::with_buffer(packed)?;
        unpacking.take(MAX_UNPACKED + 1).read_to_end(&mut json)?;
        anyhow::ensure!(json.len() as u64 <= MAX_UNPACKED, "an event's detail is too large");
        Ok(serde_json::from_slice(&json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::tree;

    #[test]
    fn what_is_packed_is_unpacked() {
        let detail = Detail {
            platform: Some("python".into()),
            exceptions: vec![Exception {
                kind: Some("KeyError".into()),
                frames: vec![Frame {
                    lineno: Some(7),
                    vars: tree::read(r#"{"a": [1, {"b": null}], "é": 1.5}"#).unwrap(),
                    ..Frame::default()
                }],
                frames_cut: 3,
                ..Exception::default()
            }],
            ..Detail::default()
        };
        let packed = detail.clone().pack().unwrap();
        assert_eq!(Detail::unpack(&packed).unwrap(), detail);
        assert!(Detail::unpack(&packed[..packed.len() - 1]).is_err());
        assert!(Detail::unpack(b"").is_err());
    }

    #[test]
    fn what_is_too_large_is_left_out_and_named() {
        let noise = |n: u64| {
            let mut state = n | 1;
            let text: String = (0..700_000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    char::from(b' ' + (state >> 58) as u8)
                })
                .collect();
            Tree::Map(vec![("x".into(), Tree::Text(text.into()))])
        };
        let detail = Detail {
            exceptions: vec![Exception {
                frames: vec![Frame {
                    function: Some("checkout".into()),
                    vars: noise(1),
                    ..Frame::default()
                }],
                ..Exception::default()
            }],
            extra: noise(3),
            logger: Some("shop".into()),
            ..Detail::default()
        };
        let packed = detail.pack().unwrap();
        assert!(packed.len() <= MAX_DETAIL);
        let detail = Detail::unpack(&packed).unwrap();
        assert_eq!(detail.left_out, ["vars", "extra"]);
        assert_eq!(detail.exceptions[0].frames[0].function.as_deref(), Some("checkout"));
        assert_eq!(detail.logger.as_deref(), Some("shop"));
    }
}
