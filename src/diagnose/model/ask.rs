//! A call that must come back in a form, with one round of mending.

use serde::Deserialize;

use crate::{
    auth::OrganizationId,
    diagnose::{Dropped, Evidence, pack::Pack},
    llm::{Call, Desk, Finish, Inputs, Llm, Message, Purpose, Schema, Told},
};

/// For whom and why the model is asked; the ledger keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub organization: OrganizationId,
    /// A caller's name, "schedule".
    pub by: &'a str,
    /// "message 12 of session 4"
    pub why: &'a str,
}

/// A quotation as the model writes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Quote {
    pub id: u32,
    pub quote: String,
}

/// Bytes of what is told to the model about its mistakes.
const WRONG: usize = 800;

/// Asks until `read` takes the answer, twice at most. `read` gives what is wrong with an
/// answer that cannot be used; the error here is one line for the operator.
pub async fn ask<T>(
    llm: &Llm,
    purpose: Purpose,
    mut messages: Vec<Message>,
    schema: Option<&Schema>,
    desk: &mut Desk,
    asked: &Asked<'_>,
    read: impl Fn(&Told, &Desk) -> Result<T, String>,
) -> Result<(Told, T), String> {
    let mut mended = false;
    loop {
        let call = Call {
            purpose,
            why: asked.why,
            organization: asked.organization,
            by: asked.by,
            messages: &messages,
            tools: &[],
            schema,
            max_output: None,
        };
        let told = match llm.ask(call).await {
            Ok(told) => told,
            Err(trouble) => return Err(trouble.to_string()),
        };
        let result = match told.finish {
            Finish::Length => Err("it was cut off because it is too long; be shorter".to_owned()),
            _ => read(&told, desk),
        };
        let wrong = match result {
            Ok(read) => return Ok((told, read)),
            Err(wrong) => wrong,
        };
        tracing::info!(mended, wrong, "the model's answer cannot be used");
        if mended {
            metrics::counter!("lux_model_unusable_total", "for" => purpose.as_str()).increment(1);
            return Err(format!(
                "The model's answer could not be used, also when asked again ({}).",
                clip(&wrong, 200)
            ));
        }
        mended = true;
        let wrong = desk.plain(clip(&wrong, WRONG));
        let prompt = llm.prompts().render("mend", Inputs::new().text("wrong", &wrong));
        let prompt = prompt.map_err(|error| super::plainly(&error))?;
        let text = (!told.text.is_empty()).then(|| desk.plain(&told.text));
        if text.is_some() {
            messages.push(Message::Assistant { text, calls: Vec::new() });
        }
        messages.push(Message::User(prompt.text));
    }
}

/// The quotations that stand in the records that they name; what is dropped is told.
pub fn proven(
    quotes: &[Quote],
    pack: &Pack,
    reveal: &dyn Fn(&str) -> String,
    dropped: &mut Vec<Dropped>,
) -> (Vec<Evidence>, Vec<u32>) {
    let (mut evidence, mut cited) = (Vec::new(), Vec::new());
    for quote in quotes.iter().take(MOST_QUOTES) {
        if pack.cited(quote.id).is_none() {
            dropped.push(Dropped::new("citation", &format!("[{}] is no record", quote.id)));
            continue;
        }
        let Some(found) = pack.prove(quote.id, &quote.quote, reveal) else {
            let what = format!("[{}] does not hold \"{}\"", quote.id, reveal(&quote.quote));
            dropped.push(Dropped::new("quotation", &what));
            continue;
        };
        if !evidence.contains(&found) {
            evidence.push(found);
        }
        if !cited.contains(&quote.id) {
            cited.push(quote.id);
        }
    }
    (evidence, cited)
}

/// Quotations that are looked up of one list.
const MOST_QUOTES: usize = 20;

pub(super) fn clip(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
