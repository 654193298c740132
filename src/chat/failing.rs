//! "Which endpoint fails most?", from the access records of the window.

use std::collections::HashMap;

use super::answer::Endpoint;
use crate::{
    app::App, diagnose::each_record, error::Result, logs::template, outbound::visit::AGENT,
};

/// How many endpoints are told apart; more than this is a scanner's doing.
const MAX_ENDPOINTS: usize = 5000;

/// The endpoints that failed (5xx), the worst first, and the number of requests seen.
pub(super) async fn endpoints(app: &App, only: Option<&str>) -> Result<(Vec<Endpoint>, u64)> {
    let live = app.live.clone();
    let only = only.map(str::to_owned);
    let counted = tokio::task::spawn_blocking(move || {
        let mut seen: HashMap<(String, String), Endpoint> = HashMap::new();
        let mut total = 0;
        each_record(&live, only.as_deref(), &mut |source, record| {
            let Some(access) = record.access() else { return };
            if access.agent.starts_with(AGENT) {
                return;
            }
            total += 1;
            let failed = access.status >= 500;
            let path = template::path(access.path());
            let key = (access.method.to_owned(), path);
            if seen.len() >= MAX_ENDPOINTS && !seen.contains_key(&key) {
                return;
            }
            let endpoint = seen.entry(key).or_default();
            endpoint.requests += 1;
            if failed {
                endpoint.failures += 1;
                let text = record.text.to_string();
                endpoint.example = Some((source.to_owned(), record.line, text));
            }
        });
        let mut failing: Vec<Endpoint> = seen
            .into_iter()
            .filter(|(_, endpoint)| endpoint.failures > 0)
            .map(|((method, path), endpoint)| Endpoint { method, path, ..endpoint })
            .collect();
        failing.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.path.cmp(&b.path)));
        (failing, total)
    })
    .await;
    counted.map_err(|error| anyhow::Error::from(error).into())
}
