//! By mail: plain text, to one recipient.

use std::{fmt::Write, time::Duration};

use super::{Came, about_to};
use crate::{
    error::Result,
    mail::{Letter, Trouble},
    notify::{Notify, channel::Channel, store::deliveries::Delivery, words},
};

/// The longest that handing one over may take.
const TOTAL: Duration = Duration::from_mins(2);

pub(super) async fn send(
    notify: &Notify,
    channel: &Channel,
    one: &Delivery,
    words: &words::Words,
) -> Result<Came> {
    let app = &notify.app;
    let letter = Letter {
        to: one.target.clone(),
        subject: format!("[Lux] {}", words.title),
        text: text(notify, channel, one, words),
        ..Letter::default()
    };
    let ready = match letter.write(app.mail.config()) {
        Ok(ready) => ready,
        Err(trouble) => return Ok(came(&trouble)),
    };
    // A connection first: as long as there is none, nothing has left.
    let mut line = match app.mail.open(None).await {
        Ok(line) => line,
        Err(trouble) => return Ok(came(&trouble)),
    };
    if !about_to(notify, one, words).await? {
        line.close().await;
        return Ok(Came::Lost);
    }
    let said = match tokio::time::timeout(TOTAL, line.hand_over(&ready, 0)).await {
        Ok(said) => said,
        Err(_) => Err(Trouble::Unknown(format!("it was not done within {} s", TOTAL.as_secs()))),
    };
    line.close().await;
    Ok(match said {
        Ok(_) => Came::Sent(None),
        Err(trouble) => came(&trouble),
    })
}

fn came(trouble: &Trouble) -> Came {
    let why = trouble.to_string();
    match trouble {
        Trouble::Unknown(_) => Came::Uncertain(why),
        // What an operator mends is tried again, too: nothing is lost meanwhile.
        trouble if trouble.is_temporary() || trouble.is_of_server() => Came::Later(why, None),
        _ => Came::Failed(why),
    }
}

fn text(notify: &Notify, channel: &Channel, one: &Delivery, words: &words::Words) -> String {
    let mut text = words.body.clone();
    if let Some(url) = words::page(&notify.app, &words.path) {
        let _ = write!(text, "\n\nMore: {url}");
    }
    let path = one.event_id.map(|id| format!("/notifications/events/{id}")).unwrap_or_default();
    if let Some(url) = words::page(&notify.app, &path) {
        let _ = write!(text, "\nSay that somebody looks at it: {url}");
    }
    let _ = write!(
        text,
        "\n\n-- \nYour address stands in the channel \"{}\" of Lux (Settings, Notifications).\n",
        words::short(&channel.name, 80)
    );
    text
}
