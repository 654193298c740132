//! All campaigns, changed last first.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Page, Shell, card, filters, html, is_fragment};
use crate::{
    app::App,
    error::Error,
    http::{Query, Reader, Result, paging},
    marketing::campaign::{Campaign, Statistics, Status, store},
};

const LIMIT: i64 = 25;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    /// A status; empty: all.
    show: String,
    cursor: Option<String>,
}

struct Row {
    campaign: Campaign,
    statistics: Option<Statistics>,
}

impl Row {
    fn tone(&self) -> &'static str {
        card::badge(self.campaign.status).0
    }

    fn icon(&self) -> &'static str {
        card::badge(self.campaign.status).1
    }

    fn goes_out(&self) -> String {
        card::goes_out(&self.campaign)
    }
}

const TABS: &[(&str, &str)] = &[
    ("", "All"),
    ("draft", "Drafts"),
    ("in_review", "In review"),
    ("approved", "Approved"),
    ("sending", "Sending"),
    ("sent", "Sent"),
];

#[derive(Template)]
#[template(path = "campaigns/list.html", blocks = ["rows"])]
struct List {
    shell: Shell,
    show: String,
    tabs: &'static [(&'static str, &'static str)],
    rows: Vec<Row>,
    next: Option<String>,
    is_first: bool,
}

pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: http::HeaderMap,
) -> Result<Response> {
    let status: Option<Status> =
        serde_json::from_value(serde_json::Value::String(wanted.show.clone())).ok();
    let before: Option<(DateTime<Utc>, i64)> =
        wanted.cursor.as_deref().map(paging::position).transpose()?;
    let organization = page.caller.organization;
    let found = store::list(&app.db, organization, status, before, LIMIT).await;
    let found = found.map_err(Error::from)?;
    let next = paging::after(&found, LIMIT, |it| (it.updated_at, it.id))?;
    let mut rows = Vec::new();
    for campaign in found {
        let statistics = match campaign.status {
            Status::Sending | Status::Paused | Status::Sent => {
                Some(store::statistics(&app.db, campaign.id).await.map_err(Error::from)?)
            }
            _ => None,
        };
        rows.push(Row { campaign, statistics });
    }
    let list = List {
        show: status.map_or_else(String::new, |status| status.as_str().to_owned()),
        tabs: TABS,
        rows,
        next,
        is_first: before.is_none(),
        shell: page.shell,
    };
    if is_fragment(&headers) {
        return html(&list.as_rows());
    }
    html(&list)
}
