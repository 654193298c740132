//! What operators do with campaigns. Each deed is one transaction with its audit entry, and
//! only those states lead on that are named here:
//!
//! draft → in review → approved → sending → sent; approved and sending can be paused; whatever
//! is not over can be cancelled. An approval is bound to what was seen: the version, the
//! audience, the time and the rate. Whoever changes one of them later has taken it back.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, NaiveDateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::json;

use super::{
    audience,
    brief::Brief,
    check::{self, Checklist},
    content::{Content, Engine},
    draft::{self, Drafted},
    render::{Letter, NOWHERE, Person, brand_of, compiled},
    store::{self, Campaign, Plan, Status, Version},
    test_mail,
};
use crate::{
    app::App,
    auth::{Caller, OrganizationId, Who, audit},
    clock,
    db::Tx,
    error::{Error, Result},
    marketing::brand::{self, Brand},
};

/// Longest name of a campaign, and longest reason.
const MAX_NAME: usize = 120;
const MAX_REASON: usize = 1000;
/// Mails a minute that may be asked for.
const MAX_RATE: i64 = 100_000;
/// How far ahead a campaign may be planned.
const MAX_AHEAD: TimeDelta = TimeDelta::days(366);

/// What a new campaign is made of.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCampaign)]
pub struct Wish {
    pub name: String,
    pub brief: Brief,
    /// Who gets it; can be chosen later.
    #[serde(default)]
    pub segment_id: Option<i64>,
    /// Whether the model drafts it, if there is one; default true.
    #[serde(default = "yes")]
    pub model: bool,
}

const fn yes() -> bool {
    true
}

/// Makes a campaign with a first draft. `origin` says whose idea it was; empty: the caller's.
pub async fn create(app: &App, caller: &Caller, wish: &Wish, origin: &str) -> Result<Campaign> {
    let by = caller.author();
    let id = create_for(app, caller.organization, &by, wish, origin, caller.into()).await?;
    store::find(&app.db, caller.organization, id).await
}

/// The same for who is no caller, such as an agent; gives the campaign's id.
pub async fn create_for(
    app: &App,
    organization: OrganizationId,
    by: &str,
    wish: &Wish,
    origin: &str,
    actor: audit::Actor<'_>,
) -> Result<i64> {
    brand::line("name", &wish.name, 1, MAX_NAME)?;
    wish.brief.check()?;
    if let Some(segment) = wish.segment_id {
        known_segment(app, organization, segment).await?;
    }
    let brand = brand::store::find(&app.db, organization).await?.brand;
    let Drafted { content, engine, notice } =
        draft::draft(app, organization, by, &wish.brief, &brand, wish.model).await;
    content.check()?;
    let origin = if origin.is_empty() { by } else { origin };
    let new = store::New {
        name: wish.name.trim(),
        brief: &wish.brief,
        segment_id: wish.segment_id,
        origin,
        note: notice.as_deref().unwrap_or(""),
        by,
    };
    let mut tx = app.db.begin().await?;
    let id = store::insert(&mut tx, organization, new, &content, engine).await?;
    let detail = json!({ "name": wish.name.trim(), "engine": engine.as_str(), "origin": origin });
    audit::write(&mut tx, organization, actor, "campaign.create", &subject(id), &detail).await?;
    tx.commit().await?;
    Ok(id)
}

fn subject(id: i64) -> String {
    format!("campaign {id}")
}

async fn known_segment(app: &App, organization: OrganizationId, segment: i64) -> Result<()> {
    if store::has_segment(&app.db, organization, segment).await? {
        return Ok(());
    }
    Err(Error::invalid(format!("segment_id {segment} is no segment of yours; choose another")))
}

/// What an approval is bound to; it changes with whatever the recipients would notice.
fn hash(campaign: &Campaign, version: &Version, brand: &Brand) -> String {
    let seen = json!([
        campaign.id,
        version.version,
        version.content,
        campaign.segment_id,
        campaign.send_at.map(|at| at.timestamp()),
        campaign.timezone,
        campaign.per_minute,
        [&brand.name, &brand.address, &brand.logo_url],
        brand.colours,
    ]);
    let digest = digest::digest(&digest::SHA256, seen.to_string().as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
}

/// The campaign with its newest version.
pub async fn newest(
    app: &App,
    organization: OrganizationId,
    id: i64,
) -> Result<(Campaign, Version)> {
    let campaign = store::find(&app.db, organization, id).await?;
    let version = store::version(&app.db, organization, id, campaign.version).await?;
    Ok((campaign, version))
}

/// The same with what an approval of it has to name.
pub async fn to_approve(
    app: &App,
    organization: OrganizationId,
    id: i64,
) -> Result<(Campaign, Version, String)> {
    let (campaign, version) = newest(app, organization, id).await?;
    let brand = brand_of(&app.db, organization, id, version.version).await?;
    let hash = hash(&campaign, &version, &brand);
    Ok((campaign, version, hash))
}

/// Adds a version. `base` is the newest one as the writer knows it, so that nobody overwrites
/// what they never saw. What waits for an approval or has one goes back into review.
pub async fn edit(app: &App, caller: &Caller, id: i64, base: i64, content: Content) -> Result<i64> {
    let content = content.tidied();
    content.check()?;
    add_version(app, caller, id, base, &content, "campaign.edit", &json!({ "base": base })).await
}

async fn add_version(
    app: &App,
    caller: &Caller,
    id: i64,
    base: i64,
    content: &Content,
    deed: &str,
    detail: &serde_json::Value,
) -> Result<i64> {
    let mut tx = app.db.begin().await?;
    let (status, newest) = store::lock(&mut tx, caller.organization, id).await?;
    if newest != base {
        return Err(Error::Conflict(format!(
            "version {newest} was written meanwhile; look at it, and edit that one"
        )));
    }
    may_change(&mut tx, id, status).await?;
    let version = newest + 1;
    store::insert_version(&mut tx, id, version, content, Engine::Person, &caller.author()).await?;
    store::set_version(&mut tx, id, version).await?;
    audit::write(&mut tx, caller.organization, caller, deed, &subject(id), detail).await?;
    tx.commit().await?;
    Ok(version)
}

/// Makes an older version the newest one again.
pub async fn restore(app: &App, caller: &Caller, id: i64, version: i64) -> Result<i64> {
    let old = store::version(&app.db, caller.organization, id, version).await?;
    let campaign = store::find(&app.db, caller.organization, id).await?;
    let detail = json!({ "version": version });
    let deed = "campaign.restore";
    add_version(app, caller, id, campaign.version, &old.content, deed, &detail).await
}

/// Lets a change go on, and takes an approval back that was given before it.
async fn may_change(tx: &mut Tx, id: i64, status: Status) -> Result<()> {
    match status {
        Status::Draft | Status::InReview => Ok(()),
        Status::Approved => {
            store::unapprove(tx, id).await?;
            let note = "changed after its approval; it needs a new one";
            store::set_status(tx, id, Status::InReview, note).await?;
            Ok(())
        }
        Status::Sending | Status::Paused | Status::Sent | Status::Cancelled => {
            Err(Error::Conflict(format!(
                "the campaign is {}; what went out cannot be changed: duplicate it",
                status.in_words()
            )))
        }
    }
}

/// Changes to whom, when and how fast; what is `None` stays.
#[derive(Clone, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CampaignChange)]
pub struct Change {
    pub name: Option<String>,
    pub segment_id: Option<i64>,
    /// "2026-12-01T09:00" in the zone, or with an offset; empty: as soon as it is approved.
    pub send_at: Option<String>,
    /// An IANA name: "Europe/Berlin".
    pub timezone: Option<String>,
    /// Mails a minute; 0: as fast as the mail server takes them.
    pub per_minute: Option<i64>,
}

pub async fn change(app: &App, caller: &Caller, id: i64, change: &Change) -> Result<Campaign> {
    if let Some(name) = &change.name {
        brand::line("name", name, 1, MAX_NAME)?;
    }
    if change.per_minute.is_some_and(|rate| !(0..=MAX_RATE).contains(&rate)) {
        return Err(Error::invalid(format!("per_minute is a number from 0 to {MAX_RATE}")));
    }
    let zone = change.timezone.as_deref().map(zone).transpose()?;
    // What is wrong with the text is said even where there is no such campaign.
    let given = change.send_at.as_deref().map(|text| moment(text, zone.unwrap_or(Tz::UTC)));
    given.transpose()?;
    if change.name.is_none()
        && change.segment_id.is_none()
        && change.send_at.is_none()
        && change.timezone.is_none()
        && change.per_minute.is_none()
    {
        return Err(Error::invalid(
            "nothing is to be changed; give name, segment_id, send_at, timezone or per_minute",
        ));
    }
    let campaign = store::find(&app.db, caller.organization, id).await?;
    if let Some(segment) = change.segment_id {
        known_segment(app, caller.organization, segment).await?;
    }
    let timezone = match zone {
        Some(zone) => zone.name().to_owned(),
        None => campaign.timezone.clone(),
    };
    let send_at = match change.send_at.as_deref() {
        Some(text) => moment(text, timezone.parse().unwrap_or(Tz::UTC))?,
        None => campaign.send_at,
    };
    let plan = Plan {
        name: change.name.as_deref().map_or(campaign.name.as_str(), str::trim).to_owned(),
        segment_id: change.segment_id.or(campaign.segment_id),
        send_at,
        timezone,
        per_minute: change.per_minute.unwrap_or(campaign.per_minute),
    };
    let before = Plan {
        name: plan.name.clone(),
        segment_id: campaign.segment_id,
        send_at: campaign.send_at,
        timezone: campaign.timezone.clone(),
        per_minute: campaign.per_minute,
    };
    let mut tx = app.db.begin().await?;
    let (status, _) = store::lock(&mut tx, caller.organization, id).await?;
    if before != plan {
        may_change(&mut tx, id, status).await?;
    }
    store::set_plan(&mut tx, id, &plan).await?;
    let detail = json!({
        "segment": plan.segment_id, "send_at": plan.send_at, "timezone": plan.timezone,
        "per_minute": plan.per_minute,
    });
    audit::write(&mut tx, caller.organization, caller, "campaign.plan", &subject(id), &detail)
        .await?;
    tx.commit().await?;
    store::find(&app.db, caller.organization, id).await
}

fn zone(name: &str) -> Result<Tz> {
    name.trim().parse().map_err(|_| {
        Error::invalid(format!("timezone {name:?} is unknown; write it like Europe/Berlin"))
    })
}

/// A time as people write it: with an offset, or as the clock of a zone shows it.
fn moment(text: &str, zone: Tz) -> Result<Option<DateTime<Utc>>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let at = if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        at.with_timezone(&Utc)
    } else {
        let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"];
        let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        let Some(local) = local else {
            return Err(Error::invalid("send_at is a time like 2026-12-01T09:00"));
        };
        // Of an hour that the clock shows twice, the first one.
        let Some(at) = local.and_local_timezone(zone).earliest() else {
            return Err(Error::invalid(format!(
                "send_at: {text} does not exist in {}, where the clocks are put forward then",
                zone.name()
            )));
        };
        at.with_timezone(&Utc)
    };
    let now = clock::now();
    if at < now - TimeDelta::minutes(1) || at > now + MAX_AHEAD {
        return Err(Error::invalid("send_at is a time to come, within a year"));
    }
    Ok(Some(at.trunc_subsecs(0)))
}

/// Refuses what cannot be approved, with all that fails.
fn approvable(checklist: &Checklist) -> Result<()> {
    let fails: Vec<String> =
        checklist.fails().map(|item| format!("{}: {}", item.title, item.text)).collect();
    if fails.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict(format!("the checklist fails. {}", fails.join(". "))))
}

/// Asks for an approval.
pub async fn submit(app: &App, caller: &Caller, id: i64) -> Result<Campaign> {
    let campaign = store::find(&app.db, caller.organization, id).await?;
    approvable(&check::check(app, caller.organization, &campaign).await?)?;
    let from = [Status::Draft];
    step(app, caller, id, &from, Status::InReview, "campaign.submit", "").await
}

/// Approves what was seen: its audience is set, and it goes out when its time comes.
pub async fn approve(app: &App, caller: &Caller, id: i64, seen: &str) -> Result<Campaign> {
    let organization = caller.organization;
    let (campaign, version) = newest(app, organization, id).await?;
    let brand = brand_of(&app.db, organization, id, version.version).await?;
    let hash = hash(&campaign, &version, &brand);
    if hash != seen {
        return Err(Error::Conflict(
            "the campaign or the brand was changed since you looked at it; look again".to_owned(),
        ));
    }
    approvable(&check::check(app, organization, &campaign).await?)?;
    // It may have to be made, which nothing can do while this transaction runs.
    let key = app.lasting.keyed().await?;
    let mut tx = app.db.begin().await?;
    let (status, newest) = store::lock(&mut tx, organization, id).await?;
    // Whoever edits takes the same lock, so what was looked at is what stands there.
    if status != Status::InReview || newest != version.version {
        return Err(Error::Conflict(format!(
            "the campaign is {}, version {newest}; only what is in review can be approved",
            status.in_words()
        )));
    }
    let Some(segment) = campaign.segment_id else {
        return Err(Error::Conflict("no segment is chosen; choose who gets it".to_owned()));
    };
    let subjects = version.content.subjects.len();
    let audience = audience::freeze(key, &mut tx, organization, id, segment, subjects).await?;
    if audience == 0 {
        return Err(Error::Conflict("nobody would get it; look at the audience".to_owned()));
    }
    let brand = serde_json::to_string(&brand).map_err(|error| Error::Internal(error.into()))?;
    let by = caller.author();
    let approval =
        store::Approval { version: newest, hash: &hash, brand: &brand, by: &by, audience };
    store::set_approved(&mut tx, id, approval).await?;
    let detail = json!({
        "version": newest, "hash": hash, "segment": segment, "audience": audience,
        "send_at": campaign.send_at, "per_minute": campaign.per_minute,
    });
    audit::write(&mut tx, organization, caller, "campaign.approve", &subject(id), &detail).await?;
    tx.commit().await?;
    store::find(&app.db, organization, id).await
}

/// Sends a campaign back to its author.
pub async fn reject(app: &App, caller: &Caller, id: i64, reason: &str) -> Result<Campaign> {
    brand::text("reason", reason, MAX_REASON)?;
    let note = match reason.trim() {
        "" => format!("rejected by {}", caller.name),
        reason => format!("rejected by {}: {reason}", caller.name),
    };
    step(app, caller, id, &[Status::InReview], Status::Draft, "campaign.reject", &note).await
}

/// Lets nothing more go out for now.
pub async fn pause(app: &App, caller: &Caller, id: i64) -> Result<Campaign> {
    let note = format!("paused by {}", caller.name);
    let from = [Status::Approved, Status::Sending];
    step(app, caller, id, &from, Status::Paused, "campaign.pause", &note).await
}

/// Goes on where it was paused.
pub async fn resume(app: &App, caller: &Caller, id: i64) -> Result<Campaign> {
    let campaign = store::find(&app.db, caller.organization, id).await?;
    let to = if campaign.started_at.is_some() { Status::Sending } else { Status::Approved };
    step(app, caller, id, &[Status::Paused], to, "campaign.resume", "").await
}

/// Ends a campaign for good; what was sent stays sent.
pub async fn cancel(app: &App, caller: &Caller, id: i64) -> Result<Campaign> {
    let note = format!("cancelled by {}", caller.name);
    let from = [Status::Draft, Status::InReview, Status::Approved, Status::Sending, Status::Paused];
    step(app, caller, id, &from, Status::Cancelled, "campaign.cancel", &note).await
}

async fn step(
    app: &App,
    caller: &Caller,
    id: i64,
    from: &[Status],
    to: Status,
    deed: &str,
    note: &str,
) -> Result<Campaign> {
    let organization = caller.organization;
    let mut tx = app.db.begin().await?;
    let (status, version) = store::lock(&mut tx, organization, id).await?;
    if !from.contains(&status) {
        let from: Vec<&str> = from.iter().map(|it| it.in_words()).collect();
        return Err(Error::Conflict(format!(
            "the campaign is {}; this can be done while it is {}",
            status.in_words(),
            from.join(" or ")
        )));
    }
    store::set_status(&mut tx, id, to, note).await?;
    let mut detail = json!({ "version": version });
    if to == Status::Cancelled {
        detail["mails"] = json!(store::cancel_waiting(&mut tx, id).await?);
    }
    if !note.is_empty() {
        detail["note"] = json!(note);
    }
    audit::write(&mut tx, organization, caller, deed, &subject(id), &detail).await?;
    tx.commit().await?;
    store::find(&app.db, organization, id).await
}

/// A new draft with the same brief and the newest texts; its time has to be chosen anew.
pub async fn duplicate(app: &App, caller: &Caller, id: i64) -> Result<Campaign> {
    let (campaign, version) = newest(app, caller.organization, id).await?;
    let by = caller.author();
    let name: String = format!("{} (copy)", campaign.name);
    let name = &name[..name.floor_char_boundary(MAX_NAME)];
    let new = store::New {
        name,
        brief: &campaign.brief,
        segment_id: campaign.segment_id,
        origin: &by,
        note: "",
        by: &by,
    };
    let mut tx = app.db.begin().await?;
    let engine = version.engine;
    let copy = store::insert(&mut tx, caller.organization, new, &version.content, engine).await?;
    let detail = json!({ "of": id });
    let deed = "campaign.duplicate";
    audit::write(&mut tx, caller.organization, caller, deed, &subject(copy), &detail).await?;
    tx.commit().await?;
    store::find(&app.db, caller.organization, copy).await
}

/// Takes a draft away.
pub async fn delete(app: &App, caller: &Caller, id: i64) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let (status, _) = store::lock(&mut tx, caller.organization, id).await?;
    if status != Status::Draft {
        return Err(Error::Conflict(format!(
            "the campaign is {}; only a draft can be deleted, others can be cancelled",
            status.in_words()
        )));
    }
    store::delete(&mut tx, id).await?;
    let deed = "campaign.delete";
    audit::write(&mut tx, caller.organization, caller, deed, &subject(id), &json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// A version as somebody would get it: a contact of the organization, or somebody nothing is
/// known of but the address.
pub async fn preview(
    app: &App,
    organization: OrganizationId,
    id: i64,
    version: Option<i64>,
    contact: Option<i64>,
    subject: i64,
) -> Result<Letter> {
    let campaign = store::find(&app.db, organization, id).await?;
    let version = version.unwrap_or(campaign.version);
    let compiled = compiled(&app.db, organization, id, version).await?;
    let person = match contact {
        None => Person { email: "somebody@example.com".to_owned(), ..Person::default() },
        Some(contact) => store::people(&app.db, organization, &[contact])
            .await?
            .pop()
            .ok_or(Error::NotFound("contact with an e-mail address"))?,
    };
    Ok(compiled.letter(&person, 0, subject, NOWHERE))
}

/// Sends the newest version to the caller's own address, as the first of the audience would get
/// it; gives that address.
pub async fn test(app: &App, caller: &Caller, id: i64) -> Result<String> {
    let campaign = store::find(&app.db, caller.organization, id).await?;
    let Who::Person { account, .. } = caller.who else {
        return Err(Error::Conflict(
            "a test mail goes to the address of who asks for it; sign in instead of using a token"
                .to_owned(),
        ));
    };
    let address = store::address_of(&app.db, caller.organization, account).await?;
    let Some(address) = address.filter(|it| !it.is_empty()) else {
        return Err(Error::Conflict(
            "your account has no e-mail address; sign in by a provider that tells it".to_owned(),
        ));
    };
    let first = match campaign.segment_id {
        Some(segment) => store::samples(&app.db, caller.organization, segment, 1).await?.pop(),
        None => None,
    };
    let contact = first.map(|person| person.id);
    let mut letter = preview(app, caller.organization, id, None, contact, 0).await?;
    letter.to.clone_from(&address);
    letter.name.clone_from(&caller.name);
    letter.subject = format!("[Test] {}", letter.subject);
    test_mail::send(app, &letter).await?;
    let deed = "campaign.test";
    let detail = json!({ "version": campaign.version });
    let organization = caller.organization;
    audit::write(&app.db, organization, caller, deed, &subject(id), &detail).await?;
    Ok(address)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, TimeDelta};
    use chrono_tz::Tz;

    use super::moment;
    use crate::clock;

    #[test]
    fn a_time_is_that_of_the_zone() {
        let day = (clock::now() + TimeDelta::days(40)).date_naive();
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        let at = moment(&format!("{day}T09:00"), berlin).unwrap().unwrap();
        let hours = at.format("%H:%M").to_string();
        assert!(hours == "08:00" || hours == "07:00", "{at}");
        assert_eq!(
            moment(&format!("{day}T09:00:00+02:00"), Tz::UTC)
                .unwrap()
                .unwrap()
                .format("%H")
                .to_string(),
            "07"
        );
        assert_eq!(moment(" ", berlin).unwrap(), None);
        for wrong in ["soon", "2020-01-01T10:00", "2099-01-01T10:00", "09:00"] {
            assert!(moment(wrong, berlin).is_err(), "{wrong}");
        }
        // The last Sunday in March: two o'clock is three o'clock.
        let now = clock::now();
        let year = if now.month() < 3 { now.year() } else { now.year() + 1 };
        let last = chrono::NaiveDate::from_ymd_opt(year, 3, 31).unwrap();
        let back = i64::from(last.weekday().num_days_from_sunday());
        let sunday = last - TimeDelta::days(back);
        let error = moment(&format!("{sunday}T02:30"), berlin).unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
    }
}
