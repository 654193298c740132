//! `[[apps]]`: the monitored applications.

use serde::{Deserialize, Serialize};

use super::load::Entry;

/// A monitored application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppEntry {
    /// Unique; events and sources name it.
    pub name: String,
    /// The only origin its probes may reach: "http://127.0.0.1:8000".
    pub base_url: url::Url,
    /// What changes when it is deployed: a checkout, a symbolic link, a lock file or unit.
    #[serde(default)]
    pub deploy_paths: Vec<String>,
}

/// Paths that are watched for one application.
const MAX_PATHS: usize = 20;

impl AppEntry {
    pub(super) fn check(&self, entry: &mut Entry<'_>) {
        if self.name.trim().is_empty() {
            entry.mistake("name is empty; give the application a short unique name");
        }
        if !matches!(self.base_url.scheme(), "http" | "https") || !self.base_url.has_host() {
            entry.mistake("base_url must be an http:// or https:// address of the application");
        }
        if !self.base_url.username().is_empty() || self.base_url.password().is_some() {
            entry.mistake("base_url must not hold a user name or password");
        }
        if self.deploy_paths.len() > MAX_PATHS {
            entry.mistake(format!("deploy_paths lists more than {MAX_PATHS} paths"));
        }
        for (index, path) in self.deploy_paths.iter().enumerate() {
            if !path.starts_with('/') || path.contains('\0') {
                entry.mistake(format!(
                    "deploy_paths: \"{path}\" is no absolute path; write one like \"/srv/shop\""
                ));
            }
            if self.deploy_paths[..index].contains(path) {
                entry.mistake(format!("deploy_paths: \"{path}\" is listed twice"));
            }
        }
    }
}
