//! Taking up a proposal: an operator's click makes a draft of it, never more.

use serde_json::{Value, json};

use super::{
    Agents, may_be_taken,
    report::{Kind, Proposal, Report, Taken},
    store::{self, Run},
};
use crate::{
    auth::{Caller, audit},
    clock,
    contacts::segment::{self, Wish},
    db::Tx,
    error::{Error, Result},
};

impl Agents {
    /// Makes what a proposal says: a draft of a campaign, a segment. Once; audited.
    ///
    /// [`Error::Conflict`] if it was taken up before; [`Error::Invalid`] for a text that nothing
    /// is made of.
    pub async fn take(&self, caller: &Caller, run: i64, number: usize) -> Result<Run> {
        let found = self.run(caller.organization, run).await?;
        let result = found.result.ok_or(Error::NotFound("proposal"))?;
        let proposal = may_take(&result, number)?;
        // A segment is counted out by its own transactions; its name is there only once.
        let made = match proposal.kind {
            Kind::Segment => {
                let wish = Wish {
                    name: proposal.detail["name"].as_str().unwrap_or(&proposal.title).to_owned(),
                    rule: serde_json::from_value(proposal.detail["rule"].clone()).ok(),
                };
                segment::add(&self.app, caller, wish).await?;
                Some("/contacts/segments".to_owned())
            }
            _ => None,
        };
        let organization = caller.organization;
        let mut tx = self.app.db.begin().await?;
        let found = store::result_for_change(&mut tx, organization, run).await?;
        let mut result = found.ok_or(Error::NotFound("run"))?;
        let proposal = may_take(&result, number)?.clone();
        let href = match made {
            Some(href) => href,
            None => campaign(&mut tx, caller, run, &proposal).await?,
        };
        let detail = json!({ "kind": proposal.kind, "title": proposal.title, "made": href });
        if let Some(proposal) = result.proposals.get_mut(number - 1) {
            proposal.taken = Some(Taken { by: caller.name.clone(), at: clock::now(), href });
        }
        store::set_result(&mut tx, run, &result).await?;
        let subject = format!("agent run {run}");
        audit::write(&mut tx, organization, caller, "agents.take", &subject, &detail).await?;
        tx.commit().await?;
        self.run(organization, run).await
    }
}

/// A proposal that may be taken up, by its number from 1.
fn may_take(result: &Report, number: usize) -> Result<&Proposal> {
    let proposal = number.checked_sub(1).and_then(|index| result.proposals.get(index));
    let proposal = proposal.ok_or(Error::NotFound("proposal"))?;
    if !may_be_taken(proposal.kind) {
        return Err(Error::invalid("nothing is made of this proposal: copy its text"));
    }
    match &proposal.taken {
        None => Ok(proposal),
        Some(taken) => {
            Err(Error::Conflict(format!("{} took this up already, see {}", taken.by, taken.href)))
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A campaign's draft, version 1, as the campaigns' own page goes on with it.
async fn campaign(tx: &mut Tx, caller: &Caller, run: i64, proposal: &Proposal) -> Result<String> {
    let now = clock::now();
    let detail = &proposal.detail;
    let name = detail["name"].as_str().unwrap_or(&proposal.title);
    let brief = json!({
        "goal": detail["goal"].as_str().unwrap_or_default(),
        "audience": detail["audience"].as_str().unwrap_or_default(),
    });
    let subjects: Vec<&str> =
        texts(&detail["subjects"]).into_iter().filter(|text| !text.is_empty()).collect();
    let subjects = if subjects.is_empty() { vec![proposal.title.as_str()] } else { subjects };
    let made_by = caller.author();
    let id: i64 = tx
        .query(
            "insert into campaign (organization_id, name, brief, origin, version, made_by,
                                   created_at, updated_at)
             values ($1, $2, $3, $4, 1, $5, $6, $6) returning id",
        )
        .bind(caller.organization)
        .bind(name)
        .bind(brief.to_string())
        .bind(format!("agent run {run}"))
        .bind(&made_by)
        .bind(now)
        .scalar()
        .await?;
    tx.query(
        "insert into campaign_version (campaign_id, version, subjects, body, engine, made_by, created_at)
         values ($1, 1, $2, $3, 'template', $4, $5)",
    )
    .bind(id)
    .bind(json!(subjects).to_string())
    .bind(&proposal.body)
    .bind(&made_by)
    .bind(now)
    .run()
    .await?;
    Ok(format!("/campaigns/{id}"))
}
