//! `[hooks]`: where deliveries may go.

use url::{Origin, Url};

/// `[hooks]`
#[derive(Clone, Debug)]
pub struct Hooks {
    /// Origins besides Zapier's to which programs may subscribe.
    pub allowed: Vec<Origin>,
}

pub(super) fn origins(text: &str) -> Result<Vec<Origin>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let origins = parts.map(|part| {
        let wrong = || format!("\"{part}\" is no origin such as \"https://hooks.example.com\"");
        let url = Url::parse(part).map_err(|_| wrong())?;
        let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "http" | "https") || !plain {
            return Err(wrong());
        }
        Ok(url.origin())
    });
    origins.collect()
}
