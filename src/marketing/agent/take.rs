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
    marketing::campaign::{self, Brief, Content, Engine},
};

impl Agents {
    /// Makes what a proposal says: a draft of a campaign, a segment. Once; audited.
    ///
    /// [`Error::Conflict`] if it was taken up before; [`Error::Invalid`] for a text that nothing
    /// is made of.
    pub async fn take(&self, caller: &Caller, run: i64, number: usize) -> Result<Run> {
        let found = self.run(caller.organization, run).await?;
        let known = found.result.as_ref().ok_or(Error::NotFound("proposal"))?;
        let proposal = may_take(known, number)?;
        // A segment is counted out by its own transactions; its name is there only once.
        let made = match proposal.kind {
            Kind::Segment => {
                let wish = Wish {
                    name: proposal.detail["name"].as_str().unwrap_or(&proposal.title).to_owned(),
                    rule: serde_json::from_value(proposal.detail["rule"].clone()).ok(),
                };
                let made = segment::add(&self.app, caller, wish).await?;
                Some(format!("/segments/{}", made.id))
            }
            _ => None,
        };
        let organization = caller.organization;
        let mut tx = self.app.db.begin().await?;
        let held = store::result_for_change(&mut tx, organization, run).await?;
        let mut result = held.ok_or(Error::NotFound("run"))?;
        let proposal = may_take(&result, number)?.clone();
        let href = match made {
            Some(href) => href,
            None => campaign(&mut tx, caller, &found, &proposal).await?,
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

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// A campaign's draft, version 1, as the campaigns' own pages go on with it.
async fn campaign(tx: &mut Tx, caller: &Caller, run: &Run, proposal: &Proposal) -> Result<String> {
    let detail = &proposal.detail;
    let text = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
    let brief = Brief {
        goal: if text("goal").is_empty() { proposal.title.clone() } else { text("goal") },
        audience: text("audience"),
        ..Brief::default()
    };
    brief.check()?;
    let mut subjects = texts(&detail["subjects"]);
    if subjects.is_empty() {
        subjects.push(proposal.title.clone());
    }
    let content = Content { subjects, body: proposal.body.clone(), ..Content::default() }.tidied();
    content.check()?;
    let by = caller.author();
    let origin = format!("agent:{}", run.agent.as_str());
    let new = campaign::store::New {
        name: detail["name"].as_str().unwrap_or(&proposal.title),
        brief: &brief,
        segment_id: None,
        origin: &origin,
        note: "",
        by: &by,
    };
    let engine = match run.engine.as_deref() {
        Some("model") => Engine::Model,
        _ => Engine::Template,
    };
    let id = campaign::store::insert(tx, caller.organization, new, &content, engine).await?;
    Ok(format!("/campaigns/{id}"))
}
