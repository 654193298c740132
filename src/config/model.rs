//! `[model]`: the model's server, limits per use, the budget.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::{
    load::{Loader, Origin, key},
    parse::{at_least_one, duration, key_text, number, text},
};

/// The model behind the chat. Without a key and without a server named on purpose, the
/// advisor answers alone.
#[derive(Clone, Debug)]
pub struct Model {
    pub key: Option<SecretString>,
    /// As requests need it: with its path, without a slash at the end.
    pub base_url: Url,
    /// The base URL was set: a server that may need no key.
    pub own_server: bool,
    pub name: String,
    /// Azure's way: this version as a query parameter, the key in the header `api-key`.
    pub api_version: Option<String>,
    /// Sent with each request; the values may be secrets.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// Tokens in and out of an organization and day (UTC).
    pub daily_tokens: u64,
    /// The same in the prices' currency.
    pub daily_cost: Option<f64>,
    /// Of a million tokens.
    pub input_price: Option<f64>,
    pub output_price: Option<f64>,
    /// How long the ledger keeps the texts; zero: it never has them.
    pub keep_texts: Duration,
    /// How long the ledger keeps that there was a request.
    pub keep_ledger: Duration,
    /// Templates in this folder replace the built-in ones of the same name.
    pub prompts_dir: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// The longest silence within an answer.
    pub between_tokens: Duration,
    /// The longest answer, in bytes as they come over the wire.
    pub max_answer_bytes: u64,
    /// How often a request that failed on the way is sent again.
    pub retries: u32,
    /// The longest that a server's `Retry-After` is waited for.
    pub max_retry_after: Duration,
    /// How long a server that failed repeatedly is left alone.
    pub circuit_pause: Duration,
    pub chat: ModelUse,
    pub diagnose: ModelUse,
    pub plan: ModelUse,
    pub campaign: ModelUse,
}

/// `[model.chat]` and so on: the model and its limits for one use.
#[derive(Clone, Debug)]
pub struct ModelUse {
    pub name: String,
    pub max_input_tokens: u32,
    pub max_output_tokens: u32,
    /// Until the answer begins.
    pub first_token: Duration,
    /// Until it has ended, further tries included.
    pub timeout: Duration,
}

impl Model {
    /// Whether there is anything to ask.
    pub fn is_on(&self) -> bool {
        self.key.is_some() || self.own_server
    }

    /// The host, as people know it.
    pub fn host(&self) -> &str {
        self.base_url.host_str().unwrap_or_default()
    }
}

/// The keys of one use must be constants, so they are written by a macro.
macro_rules! model_use {
    ($from:ident, $use:literal, $name:expr, $input:literal, $output:literal, $first:literal, $total:literal) => {
        ModelUse {
            name: $from.value(&key(concat!("model.", $use, ".name"), &[]), $name, text),
            max_input_tokens: $from.value(
                &key(concat!("model.", $use, ".max_input_tokens"), &[]),
                $input,
                at_least_one,
            ),
            max_output_tokens: $from.value(
                &key(concat!("model.", $use, ".max_output_tokens"), &[]),
                $output,
                at_least_one,
            ),
            first_token: $from.value(
                &key(concat!("model.", $use, ".first_token"), &[]),
                $first,
                some_time,
            ),
            timeout: $from.value(&key(concat!("model.", $use, ".timeout"), &[]), $total, some_time),
        }
    };
}

pub(super) fn read(from: &mut Loader) -> Model {
    let secret = key("model.key", &["OPENAI_API_KEY"]).secret();
    let model_key = from.optional(&secret, key_text).map(SecretString::from);
    let at = from.settings.len();
    let base_url = from.value(
        &key("model.base_url", &["OPENAI_BASE_URL"]),
        "https://api.openai.com/v1",
        server_url,
    );
    let own_server = from.settings.get(at).is_some_and(|setting| setting.origin != Origin::Default);
    let name = from.value(&key("model.name", &["OPENAI_MODEL"]), "gpt-4o-mini", text);
    let api_version = from.optional(&key("model.api_version", &[]), key_text);
    let base_url = if api_version.is_none() { with_path(base_url) } else { base_url };
    let model = Model {
        key: model_key,
        base_url,
        own_server,
        api_version,
        headers: from.optional(&key("model.headers", &[]).secret(), headers).unwrap_or_default(),
        daily_tokens: from.value(&key("model.daily_tokens", &[]), "2000000", number::<u64>),
        daily_cost: from.optional(&key("model.daily_cost", &[]), money),
        input_price: from.optional(&key("model.input_price", &[]), money),
        output_price: from.optional(&key("model.output_price", &[]), money),
        keep_texts: from.value(&key("model.keep_texts", &[]), "7d", duration),
        keep_ledger: from.value(&key("model.keep_ledger", &[]), "90d", some_time),
        prompts_dir: from.optional(&key("model.prompts_dir", &[]), text).map(PathBuf::from),
        connect_timeout: from.value(&key("model.connect_timeout", &[]), "5s", some_time),
        between_tokens: from.value(&key("model.between_tokens", &[]), "20s", some_time),
        max_answer_bytes: from.value(&key("model.max_answer_bytes", &[]), "4194304", number::<u64>),
        retries: from.value(&key("model.retries", &[]), "2", number::<u32>),
        max_retry_after: from.value(&key("model.max_retry_after", &[]), "10s", duration),
        circuit_pause: from.value(&key("model.circuit_pause", &[]), "60s", duration),
        chat: model_use!(from, "chat", &name, "24000", "2000", "20s", "90s"),
        diagnose: model_use!(from, "diagnose", &name, "24000", "2000", "60s", "90s"),
        plan: model_use!(from, "plan", &name, "24000", "4000", "60s", "120s"),
        campaign: model_use!(from, "campaign", &name, "24000", "4000", "60s", "120s"),
        name,
    };
    let priced = model.input_price.is_some() && model.output_price.is_some();
    if model.daily_cost.is_some() && !priced {
        let origin = from.file_origin();
        from.mistake(
            "model.daily_cost",
            origin,
            "needs input_price and output_price (of a million tokens) to count with",
        );
    }
    model
}

fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

fn money(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(amount) if amount.is_finite() && (0.0..=1_000_000.0).contains(&amount) => Ok(amount),
        _ => Err(format!("\"{text}\" is no amount; write one like 0.15")),
    }
}

/// The address as people paste it: with the path of a route, or a slash, at its end.
fn server_url(text: &str) -> Result<Url, String> {
    let trimmed = text.trim().trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/chat/completions").unwrap_or(trimmed);
    let url = super::parse::http_url(trimmed)
        .map_err(|_| "is no web address; write one like https://api.openai.com/v1".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password; put the key into OPENAI_API_KEY".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a ? or # part; api-version belongs into [model] api_version".to_owned());
    }
    Ok(url)
}

/// All but Azure's old way have a path before the routes, most often this one.
fn with_path(mut url: Url) -> Url {
    if url.path() == "/" {
        url.set_path("/v1");
    }
    url
}

/// `"X-Title: Lux", "X-Team: web"`, as a list in the file or separated by commas.
fn headers(text: &str) -> Result<Vec<(HeaderName, SecretString)>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part
                .split_once(':')
                .ok_or("has an entry without a colon; write \"Name: value\"")?;
            let name = HeaderName::try_from(name.trim())
                .map_err(|_| "has an entry whose name is no header's name")?;
            let value = value.trim();
            HeaderValue::try_from(value).map_err(|_| "has a value with control characters")?;
            Ok((name, SecretString::from(value)))
        })
        .collect::<Result<_, &str>>()
        .map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{server_url, with_path};

    #[test]
    fn addresses_are_taken_as_people_paste_them() {
        for (pasted, meant) in [
            ("https://api.openai.com", "https://api.openai.com/v1"),
            ("https://api.openai.com/", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            (" http://localhost:11434 ", "http://localhost:11434/v1"),
            ("https://openrouter.ai/api/v1/chat/completions", "https://openrouter.ai/api/v1"),
            ("http://h/openai/deployments/d/", "http://h/openai/deployments/d"),
        ] {
            assert_eq!(with_path(server_url(pasted).unwrap()).as_str(), meant);
        }
        for wrong in ["", "api.openai.com", "https://u:p@h/v1", "https://h/v1?api-version=1"] {
            assert!(server_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_checked() {
        let read = super::headers("X-Title: Lux, X-Team:web").unwrap();
        assert_eq!(
            read.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["x-title", "x-team"]
        );
        for wrong in ["X-Title", "X Title: a", "X: a\nb"] {
            assert!(super::headers(wrong).is_err(), "{wrong}");
        }
    }
}
