//! How far a campaign is, deciding about mails of which nobody knows, and mail that came back.

use axum::Extension;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Counts, Sending,
    bounce::{self, Kind, Whose},
};
use crate::{
    app::App,
    error::Error,
    http::{Ingest, Json, Operator, Path, Reader, Result},
};

/// The most reports in one request.
const MAX_REPORTS: usize = 1000;

/// The routes; [`Sending`] has to be added as an extension.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(counts)).routes(routes!(decide)).routes(routes!(came_back))
}

/// How many mails of a campaign are how far.
#[utoipa::path(get, path = "/api/campaigns/{id}/sending", params(("id" = i64, Path)),
    responses((status = 200, body = Counts), (status = 404)))]
async fn counts(
    who: Reader,
    Extension(sending): Extension<Sending>,
    Path(id): Path<i64>,
) -> Result<Json<Counts>> {
    Ok(Json(sending.counts(who.caller.organization, id).await?))
}

/// What is to become of mails that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    /// They are sent: whoever got one already gets it twice.
    Send,
    /// They are not: whoever did not get one never does.
    Leave,
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Uncertain {
    #[schema(inline)]
    decision: Decision,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Decided {
    /// How many mails this was about.
    mails: u64,
}

/// Decides about the mails of a campaign of which nobody knows whether they were sent.
#[utoipa::path(post, path = "/api/campaigns/{id}/uncertain", params(("id" = i64, Path)),
    request_body = Uncertain, responses((status = 200, body = Decided), (status = 404)))]
async fn decide(
    who: Operator,
    Extension(sending): Extension<Sending>,
    Path(id): Path<i64>,
    Json(uncertain): Json<Uncertain>,
) -> Result<Json<Decided>> {
    let again = uncertain.decision == Decision::Send;
    Ok(Json(Decided { mails: sending.decide(&who.caller, id, again).await? }))
}

/// A mail that came back: named by its number, or by the address it went to.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CameBack {
    /// The number before the hyphen in its `X-Lux-Mail`.
    mail: Option<i64>,
    email: Option<String>,
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: Kind,
    /// What was said to it.
    #[serde(default)]
    reason: Option<String>,
}

/// One report, or a list of them.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
enum Reports {
    One(CameBack),
    Many(Vec<CameBack>),
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TakenIn {
    recorded: usize,
    /// Reports about mails and addresses that are not known here.
    unknown: usize,
}

/// Tells of mail that came back, or that somebody called spam, as a mail provider's webhook does.
#[utoipa::path(post, path = "/api/webhook/mail-bounce", request_body = Reports,
    responses((status = 200, body = TakenIn)))]
async fn came_back(
    who: Ingest,
    Extension(sending): Extension<Sending>,
    Json(reports): Json<Reports>,
) -> Result<Json<TakenIn>> {
    let reports = match reports {
        Reports::One(report) => vec![report],
        Reports::Many(reports) => reports,
    };
    if reports.is_empty() || reports.len() > MAX_REPORTS {
        return Err(Error::invalid(format!("send 1 to {MAX_REPORTS} reports at once")).into());
    }
    let mut named = Vec::with_capacity(reports.len());
    for report in &reports {
        named.push(match (report.mail, &report.email) {
            (Some(mail), None) => Whose::Mail(mail),
            (None, Some(email)) => Whose::Email(email.clone()),
            _ => {
                let text = "name the mail by either \"mail\" (its number) or \"email\"";
                return Err(Error::invalid(text).into());
            }
        });
    }
    let app = &sending.0.app;
    let mut taken = TakenIn { recorded: 0, unknown: 0 };
    for (report, whose) in reports.iter().zip(&named) {
        let reason = report.reason.as_deref().unwrap_or_default();
        let (organization, by) = (who.caller.organization, &who.caller.name);
        if bounce::take(app, organization, whose, report.kind, reason, by).await? {
            taken.recorded += 1;
        } else {
            taken.unknown += 1;
        }
    }
    Ok(Json(taken))
}
