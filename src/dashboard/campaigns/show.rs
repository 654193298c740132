//! One campaign.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono_tz::Tz;
use serde::Deserialize;
use url::form_urlencoded;

use super::{Form, Page, Shell, card, filters, html, refused, see_other, told, wrong_or};
use crate::{
    app::App,
    auth::{Caller, OrganizationId},
    dashboard::Told,
    error::{self, Error},
    http::{Operator, Path, Query, Reader, Result, safe_next},
    marketing::campaign::{
        Ad, Campaign, Content, Letter, Person, Social, Statistics, Status,
        check::{Checklist, State as Item, check},
        content::{MAX_DESCRIPTION, MAX_HEADLINE, NETWORKS},
        deeds::{self, Change},
        diff::{self, Kind, Line},
        store::{self, Version, VersionLine},
    },
};

/// Contacts that a mail can be looked at as.
const SAMPLES: i64 = 25;
/// Advertisements that can be written on the page.
const ADS: usize = 4;
const SUBJECTS: usize = 3;

const TABS: &[(&str, &str)] = &[
    ("mail", "Mail"),
    ("social", "Social"),
    ("ads", "Ads"),
    ("strategy", "Strategy"),
    ("versions", "Versions"),
];

/// Zones that are offered; the campaign's own is added.
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Paris",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Europe/Istanbul",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/Mexico_City",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Pacific/Auckland",
];

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    tab: String,
    /// A contact's id.
    r#as: Option<i64>,
    /// "wide", "phone" or "text".
    view: String,
    subject: usize,
    /// A version to compare the newest with.
    with: Option<i64>,
}

/// A text for a network, with how long it may be.
struct Post {
    network: &'static str,
    limit: usize,
    text: String,
}

#[derive(Template)]
#[template(path = "campaigns/show.html")]
struct Show {
    shell: Shell,
    tab: &'static str,
    tabs: &'static [(&'static str, &'static str)],
    campaign: Campaign,
    version: Version,
    hash: String,
    checklist: Checklist,
    /// Ids, names, and which is chosen.
    segments: Vec<(i64, String, bool)>,
    zones: Vec<String>,
    samples: Vec<Person>,
    chosen: Option<i64>,
    view: &'static str,
    subject: usize,
    letter: Option<Letter>,
    subjects: Vec<String>,
    posts: Vec<Post>,
    ads: Vec<Ad>,
    strategy: String,
    versions: Vec<VersionLine>,
    with: i64,
    differences: Vec<(&'static str, Vec<Line>)>,
    statistics: Option<Statistics>,
    wrong: Option<String>,
}

impl Show {
    fn tone(&self) -> &'static str {
        card::badge(self.campaign.status).0
    }

    fn icon(&self) -> &'static str {
        card::badge(self.campaign.status).1
    }

    fn is(&self, status: &str) -> bool {
        self.campaign.status.as_str() == status
    }

    /// Whether it can still be changed.
    fn may_change(&self) -> bool {
        self.shell.may_operate()
            && matches!(self.campaign.status, Status::Draft | Status::InReview | Status::Approved)
    }

    fn goes_out(&self) -> String {
        card::goes_out(&self.campaign)
    }

    /// The time as a field of a form has it, in the campaign's zone.
    fn local(&self) -> String {
        let zone: Tz = self.campaign.timezone.parse().unwrap_or(Tz::UTC);
        let local = self.campaign.send_at.map(|at| at.with_timezone(&zone));
        local.map_or_else(String::new, |at| at.format("%Y-%m-%dT%H:%M").to_string())
    }

    fn is_chosen(&self, id: i64) -> bool {
        self.chosen == Some(id)
    }

    fn fails(&self) -> bool {
        self.checklist.state == Item::Fail
    }

    /// "Ada Lovelace" or the address.
    #[expect(clippy::unused_self, reason = "templates call it so")]
    fn person(&self, person: &Person) -> String {
        let name = format!("{} {}", person.values.first_name, person.values.last_name);
        match name.trim() {
            "" => person.email.clone(),
            name => format!("{name} ({})", person.email),
        }
    }

    /// Whether a line came or went: its looks, and the word for those who do not see them.
    #[expect(clippy::unused_self, reason = "templates call it so")]
    fn sign(&self, kind: Kind) -> (&'static str, &'static str) {
        match kind {
            Kind::Same => ("", ""),
            Kind::Added => ("add", "added: "),
            Kind::Removed => ("del", "removed: "),
        }
    }

    /// Where the frame with the mail looks.
    fn frame(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("subject", &self.subject.to_string());
        query.append_pair("version", &self.version.version.to_string());
        if let Some(contact) = self.chosen {
            query.append_pair("contact", &contact.to_string());
        }
        format!("/campaigns/{}/mail?{}", self.campaign.id, query.finish())
    }

    /// The same page, seen in another way.
    fn seen(&self, view: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("view", view).append_pair("subject", &self.subject.to_string());
        if let Some(contact) = self.chosen {
            query.append_pair("as", &contact.to_string());
        }
        format!("/campaigns/{}?{}#preview", self.campaign.id, query.finish())
    }

    /// Mails that are done with, in percent.
    fn progress(&self) -> i64 {
        let Some(all) = &self.statistics else { return 0 };
        (all.audience - all.waiting) * 100 / all.audience.max(1)
    }
}

pub(super) async fn show(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let organization = page.caller.organization;
    html(&whole(&app, page.shell, organization, id, asked, None).await?)
}

async fn whole(
    app: &App,
    shell: Shell,
    organization: OrganizationId,
    id: i64,
    asked: Asked,
    wrong: Option<(String, Content)>,
) -> Result<Show> {
    let (campaign, version, hash) = deeds::to_approve(app, organization, id).await?;
    let checklist = check(app, organization, &campaign).await?;
    let tab = TABS.iter().find(|(key, _)| *key == asked.tab).map_or("mail", |(key, _)| key);
    let segments = store::segments(&app.db, organization).await.map_err(Error::from)?;
    let chosen = campaign.segment_id;
    let segments = segments.into_iter().map(|(id, name)| (id, name, chosen == Some(id))).collect();
    let samples = match campaign.segment_id {
        Some(segment) if tab == "mail" => {
            store::samples(&app.db, organization, segment, SAMPLES).await.map_err(Error::from)?
        }
        _ => Vec::new(),
    };
    let chosen = asked.r#as.or_else(|| samples.first().map(|person| person.id));
    let subject = asked.subject.min(version.content.subjects.len().saturating_sub(1));
    let letter = if tab == "mail" {
        let number = i64::try_from(subject).unwrap_or(0);
        Some(deeds::preview(app, organization, id, None, chosen, number).await?)
    } else {
        None
    };
    let (versions, with, differences) = if tab == "versions" {
        compared(app, organization, &campaign, &version, asked.with).await?
    } else {
        (Vec::new(), 0, Vec::new())
    };
    let statistics = match campaign.status {
        Status::Draft | Status::InReview => None,
        _ => Some(store::statistics(&app.db, id).await.map_err(Error::from)?),
    };
    let (wrong, content) = match wrong {
        Some((wrong, content)) => (Some(wrong), content),
        None => (None, version.content.clone()),
    };
    let mut subjects = content.subjects.clone();
    subjects.resize(subjects.len().max(SUBJECTS), String::new());
    let mut ads = content.ads.clone();
    ads.resize(ads.len().max(ADS), Ad::default());
    let posts = NETWORKS.iter().map(|(network, limit)| {
        let post = content.social.iter().find(|post| post.network == *network);
        let text = post.map(|post| post.text.clone()).unwrap_or_default();
        Post { network, limit: *limit, text }
    });
    let mut zones: Vec<String> = ZONES.iter().map(|zone| (*zone).to_owned()).collect();
    if !zones.contains(&campaign.timezone) {
        zones.insert(0, campaign.timezone.clone());
    }
    Ok(Show {
        tab,
        tabs: TABS,
        hash,
        checklist,
        segments,
        zones,
        samples,
        chosen,
        view: match asked.view.as_str() {
            "phone" => "phone",
            "text" => "text",
            _ => "wide",
        },
        subject,
        letter,
        subjects,
        posts: posts.collect(),
        ads,
        strategy: crate::chat::markdown::to_html(&content.strategy),
        versions,
        with,
        differences,
        statistics,
        wrong,
        version: Version { content, ..version },
        campaign,
        shell,
    })
}

type Compared = (Vec<VersionLine>, i64, Vec<(&'static str, Vec<Line>)>);

/// All versions, and what the newest changed of another one.
async fn compared(
    app: &App,
    organization: OrganizationId,
    campaign: &Campaign,
    newest: &Version,
    with: Option<i64>,
) -> Result<Compared> {
    let versions =
        store::versions(&app.db, organization, campaign.id).await.map_err(Error::from)?;
    let with = with.unwrap_or(newest.version - 1);
    if with < 1 || with == newest.version {
        return Ok((versions, 0, Vec::new()));
    }
    let old = store::version(&app.db, organization, campaign.id, with).await?.content;
    let new = &newest.content;
    let social = |content: &Content| {
        let lines = content.social.iter().map(|it| format!("{}: {}", it.network, it.text));
        lines.collect::<Vec<_>>().join("\n")
    };
    let differences = [
        ("Subjects", diff::lines(&old.subjects.join("\n"), &new.subjects.join("\n"))),
        ("Preview text", diff::lines(&old.preview_text, &new.preview_text)),
        ("Body", diff::lines(&old.body, &new.body)),
        ("Social", diff::lines(&social(&old), &social(new))),
    ];
    let changed = |lines: &Vec<Line>| lines.iter().any(|line| line.kind != Kind::Same);
    let differences = differences.into_iter().filter(|(_, lines)| changed(lines)).collect();
    Ok((versions, with, differences))
}

/// Fields of a part of the texts; the other parts stay as they are.
pub(super) async fn edit(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response> {
    let (campaign, version) = deeds::newest(&app, page.caller.organization, id).await?;
    let one =
        |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
    let all = |name: &str| {
        fields
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, text)| text.clone())
            .collect::<Vec<_>>()
    };
    let base = one("base").and_then(|base| base.parse().ok()).unwrap_or(0);
    let part = one("part").unwrap_or("mail").to_owned();
    let mut content = version.content;
    match part.as_str() {
        "social" => {
            content.social = NETWORKS
                .iter()
                .filter_map(|(network, _)| {
                    let text = one(network)?.to_owned();
                    Some(Social { network: (*network).to_owned(), text })
                })
                .collect();
        }
        "ads" => {
            let descriptions = all("description");
            let ads = all("headline").into_iter().zip(descriptions);
            content.ads = ads.map(|(headline, description)| Ad { headline, description }).collect();
        }
        _ => {
            content.subjects = all("subject");
            one("preview_text").unwrap_or("").clone_into(&mut content.preview_text);
            content.body = one("body").unwrap_or("").replace("\r\n", "\n");
        }
    }
    match deeds::edit(&app, &page.caller, id, base, content.clone()).await {
        Ok(version) => {
            let mut words = format!("Version {version} is saved");
            if campaign.status == Status::Approved {
                words += "; its approval is taken back, and it waits for a new one";
            }
            Ok(see_other(&format!("/campaigns/{id}?tab={part}"), &Told::done(words)))
        }
        Err(error) => {
            let wrong = Some((wrong_or(error)?, content));
            let asked = Asked { tab: part, ..Asked::default() };
            let organization = page.caller.organization;
            let page = whole(&app, page.shell, organization, id, asked, wrong).await?;
            Ok(refused(html(&page)?))
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Planned {
    segment: String,
    send_at: String,
    timezone: String,
    per_minute: String,
}

pub(super) async fn plan(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(planned): Form<Planned>,
) -> Result<Response> {
    let before = store::find(&app.db, page.caller.organization, id).await?;
    let change = Change {
        name: None,
        segment_id: planned.segment.parse().ok(),
        send_at: Some(planned.send_at),
        timezone: Some(planned.timezone).filter(|zone| !zone.is_empty()),
        per_minute: Some(planned.per_minute.trim().parse().unwrap_or(0)),
    };
    let done = deeds::change(&app, &page.caller, id, &change).await;
    let told = told(done, |campaign| {
        let mut words = format!("It goes out {}", card::goes_out(&campaign));
        if before.status == Status::Approved && campaign.status == Status::InReview {
            words += "; its approval is taken back, and it waits for a new one";
        }
        words
    })?;
    Ok(see_other(&format!("/campaigns/{id}"), &told))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Deed {
    r#do: String,
}

pub(super) async fn deed(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(deed): Form<Deed>,
) -> Result<Response> {
    let caller = &page.caller;
    store::find(&app.db, caller.organization, id).await?;
    let here = format!("/campaigns/{id}");
    let moved =
        |done: error::Result<Campaign>, words: &'static str| told(done, |_| words.to_owned());
    let told = match deed.r#do.as_str() {
        "submit" => moved(deeds::submit(&app, caller, id).await, "It waits for an approval")?,
        "pause" => moved(deeds::pause(&app, caller, id).await, "Paused; nothing more goes out")?,
        "resume" => moved(deeds::resume(&app, caller, id).await, "It goes on")?,
        "cancel" => moved(deeds::cancel(&app, caller, id).await, "Cancelled for good")?,
        "test" => {
            told(deeds::test(&app, caller, id).await, |to| format!("A test is sent to {to}"))?
        }
        "delete" => {
            let told = told(deeds::delete(&app, caller, id).await, |()| {
                "The draft is deleted".to_owned()
            })?;
            let next = if told.bad { here.as_str() } else { "/campaigns" };
            return Ok(see_other(next, &told));
        }
        "duplicate" => match deeds::duplicate(&app, caller, id).await {
            Ok(copy) => {
                let told = Told::done("This is the copy");
                return Ok(see_other(&format!("/campaigns/{}", copy.id), &told));
            }
            Err(error) => Told::bad(wrong_or(error)?),
        },
        _ => return Err(Error::invalid("do is one of the buttons of the page").into()),
    };
    Ok(see_other(&here, &told))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Word {
    hash: String,
    reason: String,
    next: String,
}

fn next(word: &Word, id: i64) -> String {
    if word.next.is_empty() {
        return format!("/campaigns/{id}");
    }
    safe_next(Some(&word.next)).to_owned()
}

pub(super) async fn approve(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(word): Form<Word>,
) -> Result<Response> {
    let done = approved(&app, &page.caller, id, &word.hash).await;
    let told = told(done, |it| {
        let recipients = it.audience;
        let people = if recipients == 1 { "recipient" } else { "recipients" };
        format!(
            "{} is approved for {recipients} {people}; it goes out {}",
            it.name,
            card::goes_out(&it)
        )
    })?;
    Ok(see_other(&next(&word, id), &told))
}

/// The same button twice is the first press.
async fn approved(app: &App, caller: &Caller, id: i64, hash: &str) -> error::Result<Campaign> {
    match deeds::approve(app, caller, id, hash).await {
        Err(Error::Conflict(why)) => {
            let campaign = store::find(&app.db, caller.organization, id).await?;
            let same = campaign.approved_hash.as_deref() == Some(hash)
                && campaign.approved_by.as_deref() == Some(&caller.author());
            if same { Ok(campaign) } else { Err(Error::Conflict(why)) }
        }
        other => other,
    }
}

pub(super) async fn reject(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(word): Form<Word>,
) -> Result<Response> {
    let done = deeds::reject(&app, &page.caller, id, &word.reason).await;
    let told = told(done, |it| format!("{} is a draft again", it.name))?;
    Ok(see_other(&next(&word, id), &told))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Restored {
    version: i64,
}

pub(super) async fn restore(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(wanted): Form<Restored>,
) -> Result<Response> {
    let done = deeds::restore(&app, &page.caller, id, wanted.version).await;
    let told =
        told(done, |version| format!("Version {version} is version {} again", wanted.version))?;
    Ok(see_other(&format!("/campaigns/{id}?tab=versions"), &told))
}
