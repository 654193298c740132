//! What nobody reacted to is told others, once.

use serde_json::json;

use super::{
    Notify,
    channel::Channel,
    event::{Event, Topic},
    sort::{Message, place, post},
    store::{channels, deliveries::Kind, escalations as store, rest, windows},
    words,
};
use crate::{
    auth::{Caller, OrganizationId, audit},
    clock,
    db::Tx,
    error::{Error, Result},
};

/// Tells others of what is due.
pub(super) async fn step(notify: &Notify) -> Result<()> {
    let now = clock::now();
    let mut tx = notify.app.db.begin().await?;
    for event in store::due(&mut tx, now).await? {
        if let Some(reaction) = reaction(&mut tx, &event).await? {
            store::settle(&mut tx, event.id, &reaction).await?;
            continue;
        }
        let channel = match event.escalate_to {
            Some(id) => channels::find_in(&mut tx, id).await?.map(Channel::from),
            None => None,
        };
        let Some(channel) = channel.filter(|channel| channel.enabled) else {
            let why = "nobody reacted, and the channel to escalate to is gone or off";
            store::settle(&mut tx, event.id, why).await?;
            continue;
        };
        let organization = OrganizationId(event.organization_id);
        let phone = rest::phone_in(&mut tx, organization).await?;
        let words = words::escalation(&event, now, phone.as_deref());
        let open = windows::open(&mut tx, organization, now).await?;
        let place = place(&channel, event.severity, &event.app, &open, now, false);
        let occasion = format!("event {} escalation", event.id);
        let message = Message {
            organization,
            event: Some(event.id),
            kind: Kind::Escalation,
            occasion: &occasion,
            severity: event.severity,
            words: &words,
        };
        post(&mut tx, &channel, &message, place, now).await?;
        store::escalated(&mut tx, event.id, now).await?;
        let subject = format!("event {}", event.id);
        let detail = json!({"channel": channel.name, "kind": event.kind, "title": event.title});
        audit::write(&mut tx, organization, "lux", "notify.escalated", &subject, &detail).await?;
    }
    Ok(tx.commit().await?)
}

/// How somebody reacted, if anybody did.
async fn reaction(tx: &mut Tx, event: &Event) -> Result<Option<String>> {
    if let Some(by) = &event.acknowledged_by {
        return Ok(Some(format!("acknowledged by {by}")));
    }
    let group = match (event.kind, event.subject_id) {
        (Topic::ErrorOpened | Topic::ErrorRegressed, group) => group,
        (Topic::ErrorStorm, Some(storm)) => store::group_of_storm(tx, storm).await?,
        (Topic::RepairApproval, Some(action)) => {
            let decided = store::was_decided(tx, action).await?;
            return Ok(decided.then(|| "the action was decided about".to_owned()));
        }
        (Topic::ConversationWaiting, Some(conversation)) => {
            let waits = rest::waiting(tx, conversation).await?.is_some();
            return Ok((!waits).then(|| "somebody answered".to_owned()));
        }
        (Topic::HealthChanged, _) => {
            let well = store::is_well_again(tx, event).await?;
            return Ok(well.then(|| "it became well again".to_owned()));
        }
        _ => None,
    };
    let Some(group) = group else { return Ok(None) };
    if store::was_changed(tx, group, event.at).await? {
        return Ok(Some("the error's status was changed".to_owned()));
    }
    let tried = store::was_tried(tx, group, event.at).await?;
    Ok(tried.then(|| "a repair run took it on".to_owned()))
}

/// Somebody has seen an event: it does not escalate.
pub async fn acknowledge(notify: &Notify, caller: &Caller, id: i64) -> Result<()> {
    let mut tx = notify.app.db.begin().await?;
    let (organization, by) = (caller.organization, caller.author());
    match store::acknowledge(&mut tx, organization, id, &by, clock::now()).await? {
        None => Err(Error::NotFound("event")),
        // Twice is as good as once.
        Some(false) => Ok(()),
        Some(true) => {
            let subject = format!("event {id}");
            audit::write(
                &mut tx,
                organization,
                caller,
                "notify.acknowledged",
                &subject,
                &json!({}),
            )
            .await?;
            Ok(tx.commit().await?)
        }
    }
}
