//! Who is signed in, how, and in which browsers.

use askama::Template;
use axum::{extract::State, response::Response};

use super::{Page, Shell, Told, filters, html, see_other};
use crate::{
    app::App,
    auth::{
        Who,
        account::{self, Linked},
        session::{self, Shown},
    },
    http::{Path, Reader, Result},
};

#[derive(Template)]
#[template(path = "settings/you.html")]
struct You {
    shell: Shell,
    section: &'static str,
    is_person: bool,
    email: Option<String>,
    /// What vouches for the account; without any, a one-time link of this host.
    linked: Vec<Linked>,
    sessions: Vec<Shown>,
}

pub(super) async fn show(page: Page<Reader>, State(app): State<App>) -> Result<Response> {
    let (caller, db) = (&page.caller, &app.db);
    let mut you = You {
        section: "you",
        is_person: false,
        email: None,
        linked: Vec::new(),
        sessions: Vec::new(),
        shell: page.shell,
    };
    if let Who::Person { account, .. } = caller.who {
        you.is_person = true;
        you.email = account::find(db, caller.organization, account).await?.email;
        you.linked = account::linked(db, caller.organization, Some(account)).await?;
        you.sessions = session::shown(db, caller, account).await?;
    }
    html(&you)
}

pub(super) async fn end(
    page: Page<Reader>,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Response> {
    app.sessions.end(&app.db, &page.caller, id).await?;
    Ok(see_other("/settings", &Told::done("The session is ended")))
}

/// "Firefox on Linux" of what a browser says of itself; the whole of it is beside that.
fn browser(agent: Option<&str>) -> String {
    let Some(agent) = agent else { return "A browser that says nothing of itself".to_owned() };
    let names = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    let systems = [
        ("iPhone", "iPhone"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let found = |list: &[(&str, &'static str)]| {
        list.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name)
    };
    match (found(&names), found(&systems)) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        _ => agent.chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn browsers_have_names() {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert_eq!(browser(Some(agent)), "Firefox on Linux");
        let agent = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/156.0 Safari/537.36";
        assert_eq!(browser(Some(agent)), "Chrome on Windows");
        assert_eq!(browser(Some("robot")), "robot");
    }
}
