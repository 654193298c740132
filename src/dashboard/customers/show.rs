//! One customer: profile, conversations, files; for the team also notes and the errors they met.

use askama::Template;
use axum::{extract::State, response::Response};
use http::StatusCode;

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    auth::{Caller, Role, account},
    customers::{
        self, Change, Customer as Person, Note, Whose,
        attachment::{self, Attachment},
        conversation::{self, Session},
    },
    errors::store::met::Met,
    http::{Customer, Path, Result},
};

/// What is shown of each kind.
const CONVERSATIONS: i64 = 20;
const NOTES: i64 = 50;
const ERRORS: i64 = 20;

/// The choices of a company's size.
const SIZES: [&str; 6] = ["1", "2-10", "11-50", "51-200", "201-1000", "1001+"];

#[derive(Template)]
#[template(path = "customers/show.html")]
pub(super) struct Show {
    shell: Shell,
    customer: Person,
    /// It is the visitor's own page.
    own: bool,
    conversations: Vec<Session>,
    has_more: bool,
    files: Vec<Attachment>,
    notes: Vec<Note>,
    met: Vec<Met>,
    sizes: [&'static str; 6],
    /// What was wrong with the form, which is shown as it was sent.
    wrong: Option<String>,
    given: Option<Change>,
}

impl Show {
    fn standing(session: &Session) -> (&'static str, &'static str) {
        standing(session.status)
    }

    /// How it stands with an error.
    fn state(group: &Met) -> &'static str {
        use crate::errors::store::groups::Status;
        match group.status {
            Status::Unresolved => "Open",
            Status::Resolved => "Resolved",
            Status::Regressed => "Came back",
            Status::Ignored => "Muted",
        }
    }

    /// Where the forms go.
    fn at(&self) -> String {
        if self.own {
            "/customers/me".to_owned()
        } else {
            format!("/customers/{}", self.customer.id)
        }
    }

    /// Where their files are read.
    fn files_at(&self) -> String {
        format!("/api/customers/{}/attachments", self.customer.id)
    }

    fn field(&self, name: &str) -> String {
        let sent = self.given.as_ref().and_then(|given| match name {
            "name" => given.name.clone(),
            "company" => given.company.clone(),
            "phone" => given.phone.clone(),
            "website" => given.website.clone(),
            "industry" => given.industry.clone(),
            "company_size" => given.company_size.clone(),
            "country" => given.country.clone(),
            "timezone" => given.timezone.clone(),
            "language" => given.language.clone(),
            "audience" => given.audience.clone(),
            "goals" => given.goals.clone(),
            _ => None,
        });
        sent.unwrap_or_else(|| {
            let stored = &self.customer;
            let text = match name {
                "name" => &stored.name,
                "company" => &stored.company,
                "phone" => &stored.phone,
                "website" => &stored.website,
                "industry" => &stored.industry,
                "company_size" => &stored.company_size,
                "country" => &stored.country,
                "timezone" => &stored.timezone,
                "language" => &stored.language,
                "audience" => &stored.audience,
                _ => &stored.goals,
            };
            text.clone()
        })
    }

    fn roles() -> [Role; 3] {
        [Role::Customer, Role::Operator, Role::Admin]
    }

    fn is_disabled(&self) -> bool {
        self.customer.status == account::Status::Disabled
    }

    /// An administrator decides about others.
    fn may_decide(&self) -> bool {
        self.shell.may_administer() && !self.own
    }

    fn may_erase(&self) -> bool {
        self.may_decide() && self.customer.role == Role::Customer
    }
}

/// "12 KiB".
fn size(bytes: i64) -> String {
    match bytes {
        ..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// A state of a conversation as people say it, and how it looks.
pub(in crate::dashboard) fn standing(status: conversation::Status) -> (&'static str, &'static str) {
    use conversation::Status;
    match status {
        Status::Open => ("With the assistant", "ai"),
        Status::Waiting => ("Waits for a person", "warn"),
        Status::Person => ("With the team", "ok"),
        Status::Closed => ("Closed", ""),
    }
}

pub(super) async fn page(
    page: Page<Customer>,
    State(app): State<App>,
    Path(whose): Path<String>,
) -> Result<Response> {
    html(&gather(&app, &page.caller, page.shell, &whose).await?)
}

/// The page with what was wrong with its form.
pub(super) async fn refused(
    app: &App,
    caller: &Caller,
    shell: Shell,
    whose: &str,
    given: Change,
    wrong: String,
) -> Result<Response> {
    let mut show = gather(app, caller, shell, whose).await?;
    (show.given, show.wrong) = (Some(given), Some(wrong));
    let mut response = html(&show)?;
    *response.status_mut() = StatusCode::BAD_REQUEST;
    Ok(response)
}

async fn gather(app: &App, caller: &Caller, shell: Shell, whose: &str) -> Result<Show> {
    let db = &app.db;
    let customer = customers::find(db, caller, Whose::read(whose)?).await?;
    let whose = Whose::Of(customer.id);
    let own = caller.account() == Some(customer.id);
    let is_team = caller.role.may_operate();
    let (conversations, next) =
        conversation::sessions_of(db, caller, customer.id, Some(CONVERSATIONS), None).await?;
    let notes =
        if is_team { customers::notes(db, caller, whose, None, NOTES).await? } else { Vec::new() };
    // What a system says when it fails is nothing for people from outside.
    let met =
        if is_team { customers::errors_met(db, caller, whose, ERRORS).await? } else { Vec::new() };
    let files = attachment::list(db, caller, whose).await?;
    Ok(Show {
        own,
        conversations,
        has_more: next.is_some(),
        files,
        notes,
        met,
        sizes: SIZES,
        wrong: None,
        given: None,
        customer,
        shell,
    })
}
