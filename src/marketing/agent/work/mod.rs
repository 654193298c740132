//! What each agent reads, and what it makes of it without a model.

mod advertising;
mod analytics;
mod app_intelligence;
mod brand_strategy;
mod content_seo;
mod creative_design;
mod drafts;
mod email_crm;
mod operations;
mod retention;
mod sales_enablement;
mod social_media;
mod traffic;

use chrono::{DateTime, Utc};

use super::{
    Agents,
    input::{Gather, Inputs},
    report::Report,
    roster::Key,
};
use crate::{auth::OrganizationId, clock, error::Result};

/// For whom a run works.
pub(super) struct Job<'a> {
    pub organization: OrganizationId,
    /// As runs remember who asked.
    pub by: &'a str,
    /// Pages that the operator named for this agent.
    pub pages: &'a [String],
}

/// Reads all that an agent looks at.
pub(super) async fn collect(agents: &Agents, key: Key, job: &Job<'_>) -> Result<Inputs> {
    let mut gather = Gather::new(&agents.app, job.organization, clock::now());
    let it = &mut gather;
    match key {
        Key::AppIntelligence => app_intelligence::collect(it, agents, job).await?,
        Key::Operations => operations::collect(it, agents).await?,
        Key::Analytics => analytics::collect(it).await?,
        Key::BrandStrategy => brand_strategy::collect(it).await?,
        Key::ContentSeo => content_seo::collect(it, job.pages).await?,
        Key::CreativeDesign => creative_design::collect(it).await?,
        Key::SocialMedia => social_media::collect(it).await?,
        Key::EmailCrm => email_crm::collect(it).await?,
        Key::Advertising => advertising::collect(it).await?,
        Key::SalesEnablement => sales_enablement::collect(it).await?,
        Key::Retention => retention::collect(it).await?,
    }
    Ok(gather.inputs)
}

/// "signups", "sources", "segments": who came since a time.
pub(super) async fn signups(gather: &mut Gather<'_>, since: DateTime<Utc>) -> Result<()> {
    analytics::signups(gather, since).await?;
    analytics::segments(gather, since).await
}

/// What the rules make of it.
pub(super) fn advise(key: Key, inputs: &Inputs) -> Report {
    match key {
        Key::AppIntelligence => app_intelligence::advise(inputs),
        Key::Operations => operations::advise(inputs),
        Key::Analytics => analytics::advise(inputs),
        Key::BrandStrategy => brand_strategy::advise(inputs),
        Key::ContentSeo => content_seo::advise(inputs),
        Key::CreativeDesign => creative_design::advise(inputs),
        Key::SocialMedia => social_media::advise(inputs),
        Key::EmailCrm => email_crm::advise(inputs),
        Key::Advertising => advertising::advise(inputs),
        Key::SalesEnablement => sales_enablement::advise(inputs),
        Key::Retention => retention::advise(inputs),
    }
}

/// A source as people read it.
fn source(text: &str) -> &str {
    if text.is_empty() { "an unknown source" } else { text }
}

/// By how much a number differs from another, in words: "20 % more than", "as many as".
fn against(now: i64, before: i64) -> String {
    match (now, before) {
        (_, 0) => format!("{now} more than none"),
        _ if now == before => "as many as".to_owned(),
        _ if now > before => format!("{} % more than", (now - before) * 100 / before),
        _ => format!("{} % fewer than", (before - now) * 100 / before),
    }
}

/// A line of CSV. What a spreadsheet would compute is made a text.
fn csv_line<'t>(cells: impl IntoIterator<Item = &'t str>) -> String {
    let cells = cells.into_iter().map(|cell| {
        let cell = cell.replace(['\r', '\n'], " ");
        let risky = cell.starts_with(['=', '+', '-', '@', '\t']) && cell.parse::<f64>().is_err();
        let cell = if risky { format!("'{cell}") } else { cell };
        if cell.contains([',', '"', '\'']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    cells.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{against, csv_line};

    #[test]
    fn a_cell_computes_nothing() {
        let line = csv_line(["=1+1", "-3", "@x", "a, b", "say \"hi\"", "plain"]);
        assert_eq!(line, "\"'=1+1\",-3,\"'@x\",\"a, b\",\"say \"\"hi\"\"\",plain\n");
    }

    #[test]
    fn numbers_are_compared() {
        assert_eq!(against(12, 10), "20 % more than");
        assert_eq!(against(5, 10), "50 % fewer than");
        assert_eq!(against(5, 5), "as many as");
    }
}
