//! Merging and splitting over HTTP.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    merge::{self, MOST},
    split::By,
};
use crate::{
    app::App,
    clock,
    error::Error,
    http::{Json, Operator, Path, Result},
};

/// The routes.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(merge_groups)).routes(routes!(split_group))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Merge {
    /// The group that stays.
    into: i64,
    /// The groups that become part of it, at most 100.
    groups: Vec<i64>,
}

/// What a merge or split did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Regrouped {
    /// The group that was merged into, or split.
    group: i64,
    /// Groups that this call merged, or made groups of their own again.
    groups: Vec<i64>,
    /// By what it is split now.
    by: Option<String>,
    /// There is too much to move for one request: Lux goes on in the background. New
    /// events count as decided already.
    continues: bool,
    /// What could not be told apart, and stays where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// Merges groups into one: their events, counts and users become its own, now and later.
/// Their ids go on leading to it. Groups of one app only; into a resolved group only
/// resolved ones.
#[utoipa::path(
    post, path = "/api/diagnostics/groups/merge",
    request_body = Merge,
    responses(
        (status = 200, body = Regrouped),
        (status = 400, description = "no groups, or too many; nothing is merged"),
        (status = 404, description = "one of the groups does not exist; nothing is merged"),
        (status = 409, description = "two do not belong together; nothing is merged")
    )
)]
async fn merge_groups(
    who: Operator,
    State(app): State<App>,
    Json(wanted): Json<Merge>,
) -> Result<Json<Regrouped>> {
    some(&wanted.groups)?;
    let by = (&who.caller).into();
    let (group, merged, continues) =
        merge::merge_now(&app, who.caller.organization, wanted.into, &wanted.groups, by).await?;
    Ok(Json(Regrouped { group, groups: merged, by: None, continues, note: None }))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Split {
    /// Merged groups that are to be groups of their own again, at most 100.
    groups: Option<Vec<i64>>,
    /// Or: by what the group is split: "message", "endpoint", "release", "environment",
    /// "tag:NAME"; "none" lets new events count for the whole again.
    by: Option<String>,
}

/// Takes merged groups apart again, or splits a group by what its events differ in. The
/// events that are kept are moved with their counts; what was counted and is not kept any
/// more, and the users of the old group, stay with it.
#[utoipa::path(
    post, path = "/api/diagnostics/groups/{id}/split",
    params(("id" = i64, Path, description = "the group's id")),
    request_body = Split,
    responses(
        (status = 200, body = Regrouped),
        (status = 400, description = "neither groups nor by, or both; nothing is changed"),
        (status = 404, description = "one of the groups does not exist; nothing is changed"),
        (status = 409, description = "not merged into this group, or split otherwise already")
    )
)]
async fn split_group(
    who: Operator,
    State(app): State<App>,
    Path(id): Path<i64>,
    Json(wanted): Json<Split>,
) -> Result<Json<Regrouped>> {
    let (organization, by_whom) = (who.caller.organization, (&who.caller).into());
    match (wanted.groups, wanted.by.as_deref()) {
        (Some(groups), None) => {
            some(&groups)?;
            let (groups, continues) =
                merge::undo_now(&app, organization, id, &groups, by_whom).await?;
            let note = Some("hours and users of events that are not kept stay with the group");
            Ok(Json(Regrouped { group: id, groups, by: None, continues, note }))
        }
        (None, Some("none")) => {
            merge::split(&app.db, organization, id, None, by_whom, clock::now()).await?;
            let note = Some("its parts stay; merge them into it to have one group again");
            let groups = Vec::new();
            Ok(Json(Regrouped { group: id, groups, by: None, continues: false, note }))
        }
        (None, Some(by)) => {
            let by = By::parse(by).ok_or_else(|| {
                Error::invalid(
                    "by is one of message, endpoint, release, environment, tag:NAME and none",
                )
            })?;
            let continues = merge::split_now(&app, organization, id, &by, by_whom).await?;
            let note = Some("events that were counted and are not kept stay with the group");
            let (groups, by) = (Vec::new(), Some(by.to_string()));
            Ok(Json(Regrouped { group: id, groups, by, continues, note }))
        }
        _ => Err(Error::invalid(
            "give either groups (merged ones to take apart) or by (message, endpoint, release, \
             environment, tag:NAME, none)",
        )
        .into()),
    }
}

fn some(groups: &[i64]) -> Result<()> {
    if groups.is_empty() || groups.len() > MOST {
        return Err(Error::invalid(format!("groups lists 1 to {MOST} groups")).into());
    }
    Ok(())
}
