//! Reading a secret where the configuration says it is.

use std::io::Read;

use secrecy::SecretString;

use crate::{config::Config, probe::Secret};

/// Longest secret, in bytes.
const MAX_SECRET: u64 = 16 * 1024;

/// The secret, without blanks around it; the error says how to give it.
pub(super) fn read(config: &Config, place: &Secret) -> Result<SecretString, String> {
    match place {
        Secret::Text(text) => Ok(SecretString::from(text.clone())),
        Secret::Variable(name) => config
            .probe_variables
            .get(name)
            .cloned()
            .ok_or_else(|| format!("the variable {name} is not set for Lux")),
        Secret::File(path) => {
            let unread = |why: String| {
                format!("Lux cannot read {} ({why}); let its user read it", path.display())
            };
            let mut text = String::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(MAX_SECRET).read_to_string(&mut text))
                .map_err(|error| unread(error.to_string()))?;
            if text.trim().is_empty() {
                return Err(unread("it is empty".to_owned()));
            }
            Ok(SecretString::from(text.trim().to_owned()))
        }
    }
}
