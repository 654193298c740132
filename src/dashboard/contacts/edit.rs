//! What is done about one contact.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{
    Form, Page, Told, html,
    list::called,
    see_other,
    show::{self},
    told,
};
use crate::{
    app::App,
    clock,
    contacts::{
        self, Change, Contacts, Done, Email, Incoming, Status, activity, consent, e164, person,
    },
    error::{Error, Result as Deed},
    http::{Admin, JsonFile, Operator, Path, Result},
};

fn back(id: i64, told: &Told) -> Response {
    see_other(&format!("/contacts/{id}"), told)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct New {
    email: String,
    first_name: String,
    last_name: String,
    company: String,
    phone: String,
    source: String,
}

pub(super) async fn add(
    page: Page<Operator>,
    Extension(contacts): Extension<Contacts>,
    Form(form): Form<New>,
) -> Result<Response> {
    let recorded = match incoming(&page, &contacts, form) {
        Ok(incoming) => contacts.record(page.caller.organization, vec![incoming]).await,
        Err(error) => Err(error),
    };
    let Some(recorded) = recorded.as_ref().ok().and_then(|all| all.first()) else {
        let told = told(recorded, |_| String::new())?;
        return Ok(see_other("/contacts", &told));
    };
    let what = match recorded.done {
        Done::Created => "is added",
        Done::Updated => "was known, and is updated",
        Done::Unchanged => "was known; nothing is new",
    };
    let told = Told::done(format!("{} {what}", called(&recorded.contact)));
    Ok(back(recorded.contact.id, &told))
}

fn incoming(page: &Page<Operator>, contacts: &Contacts, form: New) -> Deed<Incoming> {
    let email = match form.email.trim() {
        "" => None,
        text => Some(
            Email::parse(text)
                .map_err(|why| Error::invalid(format!("the e-mail address {why}")))?,
        ),
    };
    if email.is_none() && e164(&form.phone, contacts.region()).is_none() {
        return Err(Error::invalid(
            "Write an e-mail address, or a telephone number with its country's prefix",
        ));
    }
    Ok(Incoming {
        email,
        first_name: form.first_name,
        last_name: form.last_name,
        company: form.company,
        phone: form.phone,
        source: form.source,
        by: page.caller.author(),
        ..Incoming::default()
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Edit {
    version: String,
    email: String,
    first_name: String,
    last_name: String,
    company: String,
    phone: String,
    tags: String,
    attributes: String,
}

impl Edit {
    fn change(self, before: &contacts::Contact) -> Deed<Change> {
        let mut attributes: BTreeMap<String, String> =
            before.attributes.keys().map(|name| (name.clone(), String::new())).collect();
        for line in self.attributes.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| {
                Error::invalid("Write attributes one in each line, as in city: Oslo")
            })?;
            attributes.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        let tags: BTreeSet<String> = self
            .tags
            .split(',')
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect();
        let email = self.email.trim().to_owned();
        // A number that cannot be read as one is left as it came, unless it is changed.
        let phone = (self.phone != before.phone_given).then_some(self.phone);
        Ok(Change {
            version: self.version.parse().ok(),
            email: Some(Some(email).filter(|email| !email.is_empty())),
            first_name: Some(self.first_name),
            last_name: Some(self.last_name),
            company: Some(self.company),
            phone,
            tags: Some(tags),
            attributes: Some(attributes),
        })
    }
}

pub(super) async fn change(
    page: Page<Operator>,
    State(app): State<App>,
    Extension(contacts): Extension<Contacts>,
    Path(id): Path<i64>,
    Form(form): Form<Edit>,
) -> Result<Response> {
    let organization = page.caller.organization;
    let before = contacts::find(&app.db, organization, id).await?;
    let changed = match form.change(&before) {
        Ok(change) => contacts::change(&app.db, &page.caller, contacts.region(), id, change).await,
        Err(error) => Err(error),
    };
    match changed {
        Ok(_) => Ok(back(id, &Told::done("The changes are saved"))),
        Err(Error::Invalid(why) | Error::Conflict(why)) => {
            let mut shown = show::read(&app, page.shell, before, organization).await?;
            shown.wrong = Some(why);
            Ok((StatusCode::BAD_REQUEST, html(&shown)?).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Note {
    note: String,
}

pub(super) async fn note(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(form): Form<Note>,
) -> Result<Response> {
    let organization = page.caller.organization;
    contacts::find(&app.db, organization, id).await?;
    let note = form.note.trim();
    if note.is_empty() || note.len() > 4000 {
        return Ok(back(id, &Told::bad("Write a note of 1 to 4000 bytes")));
    }
    let mut tx = app.db.begin().await.map_err(Error::from)?;
    let (by, detail) = (page.caller.author(), json!({ "text": note }));
    activity::note(&mut tx, organization, id, "note", &by, &detail, clock::now())
        .await
        .map_err(Error::from)?;
    tx.commit().await.map_err(Error::from)?;
    Ok(back(id, &Told::done("The note is added")))
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    status: String,
    source: String,
    wording: String,
}

pub(super) async fn consent(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(form): Form<Said>,
) -> Result<Response> {
    contacts::find(&app.db, page.caller.organization, id).await?;
    let noted = match form.status.parse::<Status>() {
        Ok(status) => {
            let said = consent::Said { status, source: form.source, wording: form.wording };
            consent::set(&app, &page.caller, id, said).await
        }
        Err(why) => Err(Error::Invalid(why)),
    };
    let told = told(noted, |contact| match contact.consent {
        Status::Confirmed => "It is noted: they agreed to mail".to_owned(),
        Status::Withdrawn => "It is noted: no mail goes to them any more".to_owned(),
        _ => "It is noted".to_owned(),
    })?;
    Ok(back(id, &told))
}

pub(super) async fn ask(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
    Form(form): Form<Said>,
) -> Result<Response> {
    let ask = consent::Ask { source: form.source, wording: form.wording };
    let asked = consent::ask(&app, &page.caller, id, &ask).await;
    Ok(back(
        id,
        &told(asked, |_| {
            "The question is on its way; until they answer, nothing else is sent".to_owned()
        })?,
    ))
}

pub(super) async fn remove(
    page: Page<Operator>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let contact = contacts::find(&app.db, page.caller.organization, id).await?;
    contacts::remove(&app.db, &page.caller, id).await?;
    Ok(see_other("/contacts", &Told::done(format!("{} is removed", called(&contact)))))
}

/// Everything about the person, as a file.
pub(super) async fn export(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let document = person::everything(&app, &page.caller, id).await?;
    Ok(JsonFile(format!("contact-{id}.json"), document).into_response())
}

pub(super) async fn erase(
    page: Page<Admin>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let erase = person::Erase { confirm: id, suppress: true };
    person::erase(&app, &page.caller, id, erase).await?;
    let told = Told::done("Erased for good; only a keyed hash of the address is kept");
    Ok(see_other("/contacts", &told))
}
