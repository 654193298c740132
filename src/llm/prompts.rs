//! The words that a model is told: templates in `prompts/*.md` and `prompts/agents/*.md`, built
//! in, each replaceable by a file of the same name in `[model] prompts_dir`. No prompt stands in Rust code.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Deserialize;

use super::{
    Counts, Outgoing, Purpose, Schema,
    outgoing::{self},
};
use crate::error::{Error, Result};

#[derive(rust_embed::RustEmbed)]
#[folder = "prompts"]
#[include = "*.md"]
#[include = "*.schema.json"]
struct Embedded;

/// What stands between `+++` lines at the head of a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    purpose: Purpose,
    /// Goes up with each change of meaning; a replacement has its own count.
    version: u32,
    /// The names that may stand in the text.
    #[serde(default)]
    inputs: Vec<String>,
    /// A file beside the template that holds the form of the answer: "diagnose.schema.json".
    schema: Option<String>,
}

/// All templates, checked. The engine holds their texts.
pub struct Prompts {
    engine: Environment<'static>,
    fronts: BTreeMap<String, (Front, Option<Schema>)>,
}

/// A rendered prompt.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub text: Outgoing,
    pub purpose: Purpose,
    /// "chat@1"
    pub id: String,
    pub schema: Option<Schema>,
}

/// What a template is filled in with: outgoing texts and values of our own.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    values: BTreeMap<&'static str, Value>,
    redacted: Counts,
}

impl Inputs {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn text(mut self, name: &'static str, text: &Outgoing) -> Self {
        outgoing::add(&mut self.redacted, text.redacted());
        self.value(name, text.as_str().to_owned())
    }

    #[must_use]
    pub fn texts(mut self, name: &'static str, texts: &[Outgoing]) -> Self {
        for text in texts {
            outgoing::add(&mut self.redacted, text.redacted());
        }
        let texts: Vec<String> = texts.iter().map(|text| text.as_str().to_owned()).collect();
        self.value(name, texts)
    }

    /// A word of Lux's own source.
    #[must_use]
    pub fn word(self, name: &'static str, word: &'static str) -> Self {
        self.value(name, word)
    }

    #[must_use]
    pub fn words(self, name: &'static str, words: &[&'static str]) -> Self {
        self.value(name, words.to_vec())
    }

    #[must_use]
    pub fn number(self, name: &'static str, number: u64) -> Self {
        self.value(name, number)
    }

    #[must_use]
    pub fn flag(self, name: &'static str, flag: bool) -> Self {
        self.value(name, flag)
    }

    #[must_use]
    pub fn time(self, name: &'static str, time: DateTime<Utc>) -> Self {
        self.value(name, time.to_rfc3339_opts(SecondsFormat::Secs, true))
    }

    fn value(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.values.insert(name, value.into());
        self
    }
}

impl Prompts {
    /// The templates of the program, and those of `folder` in their place. An error names the
    /// file and what is wrong with it.
    pub fn load(folder: Option<&Path>) -> Result<Self> {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_trim_blocks(true);
        engine.set_lstrip_blocks(true);
        let mut prompts = Self { engine, fronts: BTreeMap::new() };
        for file in Embedded::iter() {
            if let Some(name) = file.strip_suffix(".md") {
                let text = embedded(&file).unwrap_or_default();
                prompts.add(name, &format!("prompts/{file}"), &text, None)?;
            }
        }
        let Some(folder) = folder else { return Ok(prompts) };
        let unread = |path: &Path, error: std::io::Error| {
            Error::invalid(format!("prompts_dir: {} cannot be read: {error}", path.display()))
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| unread(folder, error))? {
            let path = entry.map_err(|error| unread(folder, error))?.path();
            // Prompts of a kind have a folder of their own: "agents/retention.md".
            if path.is_dir() {
                for entry in std::fs::read_dir(&path).map_err(|error| unread(&path, error))? {
                    files.push(entry.map_err(|error| unread(&path, error))?.path());
                }
            } else {
                files.push(path);
            }
        }
        for path in files {
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let shown = path.display().to_string();
            let within = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
            let name = within.to_str().unwrap_or_default();
            if !prompts.fronts.contains_key(name) {
                let known: Vec<&str> = prompts.fronts.keys().map(String::as_str).collect();
                return Err(Error::invalid(format!(
                    "{shown} replaces no prompt; there are {}",
                    known.join(", ")
                )));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| unread(&path, error))?;
            prompts.add(name, &shown, &text, Some(folder))?;
        }
        Ok(prompts)
    }

    /// The names of all templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fronts.keys().map(String::as_str)
    }

    /// Fills a template in. An error is a mistake of the program: an unknown name, an input
    /// that is missing or that the template was never given.
    pub fn render(&self, name: &str, inputs: Inputs) -> Result<Prompt> {
        let wrong = |why: String| Error::Internal(anyhow::anyhow!("prompt \"{name}\": {why}"));
        let Some((front, schema)) = self.fronts.get(name) else {
            return Err(wrong("there is no such template".to_owned()));
        };
        let template = self.engine.get_template(name).map_err(|error| wrong(one_line(&error)))?;
        let text = template.render(&inputs.values).map_err(|error| wrong(one_line(&error)))?;
        Ok(Prompt {
            text: Outgoing::rendered(text.trim().to_owned(), inputs.redacted),
            purpose: front.purpose,
            id: format!("{name}@{}", front.version),
            schema: schema.clone(),
        })
    }

    fn add(&mut self, name: &str, shown: &str, text: &str, folder: Option<&Path>) -> Result<()> {
        let wrong = |why: String| Error::invalid(format!("{shown}: {why}"));
        let parts = text.strip_prefix("+++\n").and_then(|rest| rest.split_once("\n+++\n"));
        let (front, body) = parts.ok_or_else(|| {
            wrong("begins with no +++ line, or has no second one below its settings".to_owned())
        })?;
        let front: Front = toml::from_str(front).map_err(|error| wrong(one_line(&error)))?;
        // What the program gives is what the built-in template names.
        if let Some((built_in, _)) = self.fronts.get(name) {
            if front.purpose != built_in.purpose {
                let purpose = built_in.purpose.as_str();
                return Err(wrong(format!("its purpose must be \"{purpose}\"")));
            }
            if let Some(stranger) = front.inputs.iter().find(|name| !built_in.inputs.contains(name))
            {
                let known = built_in.inputs.join(", ");
                return Err(wrong(format!("there is no input \"{stranger}\"; there are: {known}")));
            }
        }
        let schema = match &front.schema {
            None => None,
            Some(file) => Some(schema(name, file, folder).map_err(wrong)?),
        };
        self.engine
            .add_template_owned(name.to_owned(), body.to_owned())
            .map_err(|error| wrong(one_line(&error)))?;
        let template = self.engine.get_template(name).map_err(|error| wrong(one_line(&error)))?;
        let used = template.undeclared_variables(false);
        if let Some(stranger) = used.iter().find(|used| !front.inputs.contains(used)) {
            return Err(wrong(format!("uses \"{stranger}\", which is not among its inputs")));
        }
        self.fronts.insert(name.to_owned(), (front, schema));
        Ok(())
    }
}

fn embedded(file: &str) -> Option<String> {
    Embedded::get(file).map(|file| String::from_utf8_lossy(&file.data).into_owned())
}

fn schema(name: &str, file: &str, folder: Option<&Path>) -> Result<Schema, String> {
    let plain = file.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !plain || !file.ends_with(".schema.json") {
        return Err(format!("schema = \"{file}\" is no file name like {name}.schema.json"));
    }
    let own = folder.and_then(|folder| std::fs::read_to_string(folder.join(file)).ok());
    let text = own.or_else(|| embedded(file)).ok_or_else(|| format!("{file} is not there"))?;
    let schema = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    Ok(Schema { name: name.to_owned().into(), schema })
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
