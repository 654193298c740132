//! The first page: how everything stands.

use askama::Template;
use axum::{Router, response::Response, routing::get};

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    http::{Known, Result},
};

pub(super) fn router() -> Router<App> {
    Router::new().route("/", get(show))
}

#[derive(Template)]
#[template(path = "home/home.html")]
struct Home {
    shell: Shell,
}

/// For whom nothing is there yet.
#[derive(Template)]
#[template(path = "home/stranger.html")]
struct Stranger {
    shell: Shell,
}

async fn show(page: Page<Known>) -> Result<Response> {
    if !page.caller.role.may_read() {
        return html(&Stranger { shell: page.shell });
    }
    html(&Home { shell: page.shell })
}
