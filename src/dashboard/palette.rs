//! What the palette offers for a few letters: pages, errors, and the question itself.

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::shell::{GROW, RUN, SET_UP};
use crate::{
    app::App,
    error::Error,
    errors::store::groups::{self, Filter, Sort},
    http::{Query, Reader, Result},
};

/// Errors that are offered.
const ERRORS: i64 = 5;
/// The longest text that is looked for, in bytes.
const LONGEST: usize = 200;

/// Pages that stand in no navigation.
const MORE: &[(&str, &str, &str)] =
    &[("/segments", "Segments", "filter"), ("/setup", "Set-up", "list-checks")];

pub(super) fn router() -> Router<App> {
    Router::new().route("/ui/palette", get(offer))
}

#[derive(Deserialize)]
struct Sought {
    #[serde(default)]
    q: String,
}

/// One line of the palette.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Offer {
    name: String,
    /// Shown beside it.
    about: String,
    href: String,
    icon: &'static str,
}

fn offered(name: &str, about: &str, href: &str, icon: &'static str) -> Offer {
    Offer { name: name.to_owned(), about: about.to_owned(), href: href.to_owned(), icon }
}

/// The pages whose names hold the text.
fn pages(sought: &str) -> Vec<Offer> {
    let named = RUN.iter().chain(GROW).chain(SET_UP).map(|it| (it.href, it.name, it.icon));
    let all = named.chain(MORE.iter().copied());
    let sought = sought.to_lowercase();
    all.filter(|(_, name, _)| name.to_lowercase().contains(&sought))
        .map(|(href, name, icon)| offered(name, "Page", href, icon))
        .collect()
}

async fn offer(
    reader: Reader,
    State(app): State<App>,
    Query(Sought { q }): Query<Sought>,
) -> Result<Json<Vec<Offer>>> {
    let sought = q.trim();
    if sought.len() > LONGEST {
        return Err(Error::invalid("what is looked for has at most 200 bytes; shorten it").into());
    }
    let mut offers = pages(sought);
    if sought.is_empty() {
        return Ok(Json(offers));
    }
    let encoded: String = form_urlencoded::byte_serialize(sought.as_bytes()).collect();
    let filter = Filter { q: Some(sought), ..Filter::default() };
    let organization = reader.caller.organization;
    let (found, _) =
        groups::list(&app.db, organization, &filter, Sort::LastSeen, ERRORS, None).await?;
    offers.extend(found.iter().map(|group| {
        let about = group.endpoint.as_deref().unwrap_or(&group.app);
        offered(&group.title, about, &format!("/errors/{}", group.id), "bug")
    }));
    offers.push(offered(sought, "Search the errors", &format!("/errors?q={encoded}"), "bug"));
    offers.push(offered(sought, "Search the logs", &format!("/logs?q={encoded}"), "scroll-text"));
    if reader.caller.role.may_operate() {
        offers.push(offered(sought, "Ask Lux", &format!("/chat?ask={encoded}"), "sparkles"));
    }
    Ok(Json(offers))
}

#[cfg(test)]
mod tests {
    use super::pages;

    #[test]
    fn pages_are_found_by_part_of_their_name() {
        let found = pages("PAIR");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].href, "/repairs");
        assert!(pages("").len() >= 8);
        assert!(pages("no such page").is_empty());
    }
}
