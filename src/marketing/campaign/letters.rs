//! Letters for who sends: the approved version, filled in for each contact.

use futures_util::future::BoxFuture;

use super::render::{Recipient, render};
use crate::{
    auth::OrganizationId,
    db::Db,
    error::{Error, Result},
    marketing::sending::{Letters, Wanted, Written},
};

/// Writes the letters of campaigns.
pub struct Drafted(pub Db);

impl Letters for Drafted {
    fn write<'a>(
        &'a self,
        campaign: i64,
        version: i64,
        wanted: &'a [Wanted],
    ) -> BoxFuture<'a, Result<Vec<Written>>> {
        Box::pin(async move {
            let organization: Option<(OrganizationId,)> = self
                .0
                .query("select organization_id from campaign where id = $1")
                .bind(campaign)
                .optional()
                .await?;
            let (organization,) = organization.ok_or(Error::NotFound("campaign"))?;
            let recipients: Vec<Recipient> = wanted
                .iter()
                .map(|it| Recipient {
                    mail: it.mail,
                    contact: it.contact,
                    subject: it.subject,
                    unsubscribe_url: it.unsubscribe.clone(),
                })
                .collect();
            let letters = render(&self.0, organization, campaign, version, &recipients).await?;
            let written = letters.into_iter().map(|it| Written {
                mail: it.mail,
                subject: it.subject,
                text: it.text,
                html: Some(it.html),
            });
            Ok(written.collect())
        })
    }
}
