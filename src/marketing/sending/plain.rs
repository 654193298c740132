//! Letters from a version's text as it stands.

use futures_util::future::BoxFuture;
use pulldown_cmark::{Options, Parser};

use super::{Letters, Wanted, Written};
use crate::{
    db::Db,
    error::{Error, Result},
};

/// The version's text, the same for everybody.
pub struct Plain(pub Db);

impl Letters for Plain {
    fn write<'a>(
        &'a self,
        campaign: i64,
        version: i64,
        wanted: &'a [Wanted],
    ) -> BoxFuture<'a, Result<Vec<Written>>> {
        Box::pin(async move {
            let found: Option<(String, String)> = self
                .0
                .query(
                    "select subjects, body from campaign_version
                     where campaign_id = $1 and version = $2",
                )
                .bind(campaign)
                .bind(version)
                .optional()
                .await?;
            let (subjects, body) = found.ok_or(Error::NotFound("campaign's version"))?;
            let subjects: Vec<String> = serde_json::from_str(&subjects).unwrap_or_default();
            let mut html = String::new();
            pulldown_cmark::html::push_html(&mut html, Parser::new_ext(&body, Options::empty()));
            let html = ammonia::clean(&html);
            let letter = |wanted: &Wanted| {
                let subject = usize::try_from(wanted.subject).ok();
                let subject = subject.and_then(|at| subjects.get(at)).or(subjects.first());
                Written {
                    mail: wanted.mail,
                    subject: subject.cloned().unwrap_or_default(),
                    text: body.clone(),
                    html: Some(html.clone()),
                }
            };
            Ok(wanted.iter().map(letter).collect())
        })
    }
}
