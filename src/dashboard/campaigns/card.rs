//! A campaign as it waits for an operator's word, here and on the page of approvals.

use chrono_tz::Tz;

use crate::{
    app::App,
    auth::OrganizationId,
    error::{Error, Result},
    marketing::campaign::{
        Campaign, Status,
        check::{Checklist, State, check},
        deeds, store,
    },
};

/// Campaigns that wait and are shown at once; each is counted out.
const LIMIT: i64 = 10;

/// One of them.
pub(crate) struct Card {
    pub campaign: Campaign,
    /// The first of its subjects, as it is written.
    pub subject: String,
    /// What an approval is bound to.
    pub hash: String,
    pub checklist: Checklist,
}

impl Card {
    pub(crate) fn goes_out(&self) -> String {
        goes_out(&self.campaign)
    }

    pub(crate) fn audience(&self) -> String {
        let audience = self.checklist.items.iter().find(|item| item.id == "audience");
        audience.map_or_else(String::new, |item| item.text.clone())
    }

    pub(crate) fn fails(&self) -> bool {
        self.checklist.state == State::Fail
    }

    /// Items that are worth a look, in words.
    pub(crate) fn worth_a_look(&self) -> String {
        let found = self.checklist.items.iter().filter(|item| item.state != State::Pass);
        let found: Vec<String> =
            found.map(|item| format!("{}: {}", item.title, item.text)).collect();
        if found.is_empty() { "every item passes".to_owned() } else { found.join("; ") }
    }
}

/// "2026-12-01 09:00 in Europe/Berlin, 60 a minute".
pub(crate) fn goes_out(campaign: &Campaign) -> String {
    let when = match campaign.send_at {
        None => "as soon as it is approved".to_owned(),
        Some(at) => {
            let zone: Tz = campaign.timezone.parse().unwrap_or(Tz::UTC);
            let local = at.with_timezone(&zone).format("%Y-%m-%d %H:%M");
            format!("{local} in {}", zone.name())
        }
    };
    match campaign.per_minute {
        0 => when,
        rate => format!("{when}, {rate} a minute"),
    }
}

/// The campaigns that wait, at most ten, changed last first.
pub(crate) async fn waiting(app: &App, organization: OrganizationId) -> Result<Vec<Card>> {
    let found = store::list(&app.db, organization, Some(Status::InReview), None, LIMIT)
        .await
        .map_err(Error::from)?;
    let mut cards = Vec::new();
    for campaign in found {
        let (campaign, version, hash) = deeds::to_approve(app, organization, campaign.id).await?;
        cards.push(Card {
            subject: version.content.subjects.first().cloned().unwrap_or_default(),
            hash,
            checklist: check(app, organization, &campaign).await?,
            campaign,
        });
    }
    Ok(cards)
}

/// The looks and the sign of a status.
pub(crate) fn badge(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Draft => ("", "pencil"),
        Status::InReview => ("warn", "hourglass"),
        Status::Approved => ("ai", "check-check"),
        Status::Sending => ("live", "send"),
        Status::Paused => ("warn", "circle-pause"),
        Status::Sent => ("", "check"),
        Status::Cancelled => ("", "ban"),
    }
}
