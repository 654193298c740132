//! The pages where operators live: one folder a page, each with its handlers and its templates.
//! What they show and do is the features'; here it becomes HTML. All of it works without
//! scripts but for the chat and the live log, and is loaded from nowhere else.

mod agents;
mod approvals;
pub mod assets;
mod campaigns;
pub mod chart;
mod chat;
mod contacts;
mod conversations;
mod customers;
mod errors;
pub mod filters;
mod form;
mod health;
mod home;
mod integrations;
pub mod live;
mod logs;
mod notifications;
mod page;
mod palette;
mod repairs;
mod reply;
mod segments;
mod settings;
pub mod shell;
mod told;
pub mod views;
pub mod when;

use axum::{Router, middleware};

use crate::app::App;

pub use form::Form;
pub use page::Page;
pub use reply::{html, is_fragment, nothing_here, refuse, see_other};
pub use shell::Shell;
pub use told::Told;

/// All pages, with what renders their refusals. They are no part of the API's description,
/// because they are for browsers.
pub fn router(app: &App) -> Router<App> {
    Router::new()
        .merge(agents::router())
        .merge(approvals::router())
        .merge(campaigns::router())
        .merge(chat::router())
        .merge(contacts::router())
        .merge(conversations::router())
        .merge(customers::router())
        .merge(errors::router())
        .merge(health::router())
        .merge(home::router())
        .merge(integrations::router())
        .merge(live::router())
        .merge(logs::router())
        .merge(notifications::router())
        .merge(palette::router())
        .merge(repairs::router())
        .merge(segments::router())
        .merge(settings::router())
        .layer(axum::Extension(live::Live::new(app.clone())))
        .layer(middleware::from_fn(reply::refusals))
        .merge(assets::router())
}

/// The pages that take files, which have bounds of their own.
pub fn upload_router(app: &App) -> Router<App> {
    contacts::upload_router()
        .merge(customers::upload_router())
        .layer(axum::Extension(live::Live::new(app.clone())))
        .layer(middleware::from_fn(reply::refusals))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    fn templates() -> Vec<(PathBuf, String)> {
        let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut templates = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|it| it == "html") {
                    let text = fs::read_to_string(&path).unwrap();
                    templates.push((path, text));
                }
            }
        }
        assert!(templates.len() >= 8, "{}", templates.len());
        templates
    }

    /// The pages' policy lets nothing of it work; here it is noticed before.
    #[test]
    fn no_template_holds_code_or_looks() {
        let inline = regex::Regex::new(
            r"(?i)<script(\s+(defer|type=.\w+.))*>|<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:|hx-on|hx-vals=.js:",
        ).unwrap();
        for (path, text) in templates() {
            let found = inline.find(&text).map(|found| found.as_str().to_owned());
            assert_eq!(found, None, "{}", path.display());
        }
    }

    /// The script asks. A click before it is there would erase somebody unasked.
    #[test]
    fn what_asks_first_waits_for_the_script() {
        let mut asking = 0;
        for (path, text) in templates() {
            for form in text.split("<form").skip(1).map(|it| it.split("</form>").next().unwrap()) {
                let asks = form.matches("data-ask=").count();
                let waits = form.matches("<button disabled data-needs-script ").count();
                assert_eq!(asks, waits, "{}: {form}", path.display());
                asking += asks;
            }
            let everywhere = text.matches("data-ask=").count();
            let in_forms = text.matches("<button disabled data-needs-script ").count();
            assert_eq!(everywhere, in_forms, "{}", path.display());
        }
        assert!(asking > 20, "{asking}");
    }
}
