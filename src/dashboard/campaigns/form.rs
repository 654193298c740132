//! What is written before there is a campaign: the brief and the brand.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{Form, Page, Shell, Told, filters, html, refused, see_other, wrong_or};
use crate::{
    app::App,
    error::Error,
    http::{Operator, Path, Reader, Result},
    marketing::{
        brand::{self, Brand, Colours, Link, store::Kept},
        campaign::{Brief, Wish, deeds, met, store},
    },
};

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    name: String,
    goal: String,
    offer: String,
    audience: String,
    tone: String,
    language: String,
    call_to_action: String,
    date: String,
    /// One a line: an address, and words for it behind a space.
    links: String,
    segment: String,
    /// "template": the model is not asked.
    engine: String,
}

/// Links, one a line: the address, then what it is called.
fn links(text: &str) -> Vec<Link> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(|line| {
        let (url, label) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Link { label: label.trim().to_owned(), url: url.to_owned() }
    });
    lines.collect()
}

impl Written {
    fn wish(&self) -> Wish {
        Wish {
            name: self.name.clone(),
            brief: Brief {
                goal: self.goal.clone(),
                offer: self.offer.clone(),
                audience: self.audience.clone(),
                tone: self.tone.clone(),
                language: self.language.clone(),
                links: links(&self.links),
                call_to_action: self.call_to_action.clone(),
                date: self.date.clone(),
            },
            segment_id: self.segment.parse().ok(),
            model: self.engine != "template",
        }
    }
}

#[derive(Template)]
#[template(path = "campaigns/new.html")]
struct New {
    shell: Shell,
    form: Written,
    /// Ids, names, and which is chosen.
    segments: Vec<(i64, String, bool)>,
    has_model: bool,
    has_brand: bool,
    wrong: Option<String>,
}

async fn blank(
    app: &App,
    page: Page<Operator>,
    form: Written,
    wrong: Option<String>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let segments = store::segments(&app.db, organization).await.map_err(Error::from)?;
    let chosen: Option<i64> = form.segment.parse().ok();
    html(&New {
        segments: segments.into_iter().map(|(id, name)| (id, name, chosen == Some(id))).collect(),
        has_model: app.llm.is_on(),
        has_brand: brand::store::find(&app.db, organization).await?.version > 0,
        form,
        wrong,
        shell: page.shell,
    })
}

pub(super) async fn new(page: Page<Operator>, State(app): State<App>) -> Result<Response> {
    blank(&app, page, Written::default(), None).await
}

pub(super) async fn create(
    page: Page<Operator>,
    State(app): State<App>,
    Form(form): Form<Written>,
) -> Result<Response> {
    match deeds::create(&app, &page.caller, &form.wish(), "").await {
        Ok(campaign) => {
            let told = Told::done(format!("{} is drafted; read it, and edit it", campaign.name));
            Ok(see_other(&format!("/campaigns/{}", campaign.id), &told))
        }
        Err(error) => {
            let wrong = wrong_or(error)?;
            Ok(refused(blank(&app, page, form, Some(wrong)).await?))
        }
    }
}

/// Drafts the message to who met an error, or says why that cannot be.
pub(super) async fn tell_who_met(
    page: Page<Operator>,
    State(app): State<App>,
    Path(group): Path<i64>,
) -> Result<Response> {
    match met::tell(&app, &page.caller, group).await {
        Ok(met) => {
            let contacts = met.contacts;
            let told = Told::done(format!(
                "{contacts} of {} users who met it are contacts; read the draft for them",
                met.users
            ));
            Ok(see_other(&format!("/campaigns/{}", met.campaign.id), &told))
        }
        Err(error) => {
            let told = Told::bad(wrong_or(error)?);
            Ok(see_other(&format!("/errors/{group}"), &told))
        }
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WrittenBrand {
    name: String,
    voice: String,
    offer: String,
    audience: String,
    goals: String,
    background: String,
    text: String,
    accent: String,
    logo_url: String,
    address: String,
    links: String,
    avoid: String,
}

impl From<&Brand> for WrittenBrand {
    fn from(brand: &Brand) -> Self {
        let links = brand.links.iter().map(|link| format!("{} {}", link.url, link.label));
        Self {
            name: brand.name.clone(),
            voice: brand.voice.clone(),
            offer: brand.offer.clone(),
            audience: brand.audience.clone(),
            goals: brand.goals.clone(),
            background: brand.colours.background.to_string(),
            text: brand.colours.text.to_string(),
            accent: brand.colours.accent.to_string(),
            logo_url: brand.logo_url.clone(),
            address: brand.address.clone(),
            links: links.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n"),
            avoid: brand.avoid.join(", "),
        }
    }
}

impl WrittenBrand {
    fn brand(&self) -> crate::error::Result<Brand> {
        let usual = Colours::default();
        let colour = |name: &str, text: &str, usual| match text.trim() {
            "" => Ok(usual),
            text => text.parse().map_err(|why| Error::invalid(format!("{name}: {why}"))),
        };
        Ok(Brand {
            name: self.name.trim().to_owned(),
            voice: self.voice.clone(),
            offer: self.offer.clone(),
            audience: self.audience.clone(),
            goals: self.goals.clone(),
            colours: Colours {
                background: colour("background", &self.background, usual.background)?,
                text: colour("text", &self.text, usual.text)?,
                accent: colour("accent", &self.accent, usual.accent)?,
            },
            logo_url: self.logo_url.trim().to_owned(),
            address: self.address.clone(),
            links: links(&self.links),
            avoid: self
                .avoid
                .split([',', '\n'])
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

#[derive(Template)]
#[template(path = "campaigns/brand.html")]
struct BrandPage {
    shell: Shell,
    form: WrittenBrand,
    kept: Kept,
    wrong: Option<String>,
}

pub(super) async fn brand(page: Page<Reader>, State(app): State<App>) -> Result<Response> {
    let kept = brand::store::find(&app.db, page.caller.organization).await?;
    let form = (&kept.brand).into();
    html(&BrandPage { form, kept, wrong: None, shell: page.shell })
}

pub(super) async fn write_brand(
    page: Page<Operator>,
    State(app): State<App>,
    Form(form): Form<WrittenBrand>,
) -> Result<Response> {
    let written = match form.brand() {
        Ok(brand) => brand::store::put(&app.db, &page.caller, &brand).await,
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => Ok(see_other("/campaigns/brand", &Told::done("The brand is saved"))),
        Err(error) => {
            let wrong = Some(wrong_or(error)?);
            let kept = brand::store::find(&app.db, page.caller.organization).await?;
            Ok(refused(html(&BrandPage { form, kept, wrong, shell: page.shell })?))
        }
    }
}
