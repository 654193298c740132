//! From a brief to a draft: by the model, in a form that is checked, else by the template.

use std::{fmt::Write, time::Duration};

use serde::Deserialize;

use super::{
    brief::Brief,
    check,
    compile::Compiled,
    content::{Ad, Content, Engine, NETWORKS, Social},
    template,
};
use crate::{
    app::App,
    auth::OrganizationId,
    diagnose::{Asked, ask},
    llm::{Inputs, Message, Purpose, Told},
    marketing::brand::Brand,
};

/// How long a model may take, both of its answers together.
const PATIENCE: Duration = Duration::from_secs(25);

/// A first version.
#[derive(Clone, Debug)]
pub(super) struct Drafted {
    pub content: Content,
    pub engine: Engine,
    /// Why it is a template although there is a model, in one line.
    pub notice: Option<String>,
}

/// The answer as the prompt asks for it.
#[derive(Debug, Deserialize)]
struct Form {
    subjects: Vec<String>,
    #[serde(default)]
    preview_text: String,
    body: String,
    #[serde(default)]
    social: Vec<Post>,
    #[serde(default)]
    ads: Vec<Said>,
    #[serde(default)]
    why: String,
    #[serde(default)]
    timing: String,
    #[serde(default)]
    measure: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Post {
    network: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Said {
    headline: String,
    description: String,
}

/// Makes a draft. No trouble of the model is an error: then it is the template's.
pub(super) async fn draft(
    app: &App,
    organization: OrganizationId,
    by: &str,
    brief: &Brief,
    brand: &Brand,
    with_model: bool,
) -> Drafted {
    let by_template = |notice: Option<String>| Drafted {
        content: template::content(brief, brand).tidied(),
        engine: Engine::Template,
        notice,
    };
    if !with_model || !app.llm.is_on() {
        return by_template(None);
    }
    let asked = Asked { organization, by, why: "a draft of a campaign" };
    let asked = by_model(app, &asked, brief, brand);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(content)) => Drafted { content, engine: Engine::Model, notice: None },
        Ok(Err(why)) => by_template(Some(why)),
        Err(_) => {
            by_template(Some(format!("The model took longer than {} s.", PATIENCE.as_secs())))
        }
    }
}

async fn by_model(
    app: &App,
    asked: &Asked<'_>,
    brief: &Brief,
    brand: &Brand,
) -> Result<Content, String> {
    let plainly = |error: crate::error::Error| {
        tracing::warn!(%error, "a draft was not asked for");
        "Lux could not ask the model.".to_owned()
    };
    let mut desk = app.llm.desk();
    let networks =
        NETWORKS.iter().map(|(name, limit)| format!("{name} [{limit}]")).collect::<Vec<_>>();
    let inputs = Inputs::new().text("networks", &desk.plain(&networks.join(", ")));
    let prompt = app.llm.prompts().render("campaign", inputs).map_err(plainly)?;
    let told = format!("{}\n{}", brief.in_words(), in_words(brand));
    let data = desk.data("the brief and the brand", &told).map_err(plainly)?;
    let messages = vec![Message::System(prompt.text), Message::User(data)];
    let schema = prompt.schema;
    let (_, content) = ask(
        &app.llm,
        Purpose::Campaign,
        messages,
        schema.as_ref(),
        &mut desk,
        asked,
        |told, desk| read(told, brief, brand, &|text| desk.reveal(text)),
    )
    .await?;
    Ok(content)
}

fn in_words(brand: &Brand) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("Sender", &brand.name),
        ("Voice", &brand.voice),
        ("What it offers", &brand.offer),
        ("Whom it is for", &brand.audience),
        ("Goals", &brand.goals),
    ] {
        if !value.trim().is_empty() {
            let _ = writeln!(text, "{name}: {}", value.trim());
        }
    }
    for link in &brand.links {
        let _ = writeln!(text, "Link: {} {}", link.label.trim(), link.url);
    }
    if !brand.avoid.is_empty() {
        let _ = writeln!(text, "Never say: {}", brand.avoid.join(", "));
    }
    text
}

/// The answer as a draft; the error says all that is wrong with it, for the model to mend.
fn read(
    told: &Told,
    brief: &Brief,
    brand: &Brand,
    reveal: &dyn Fn(&str) -> String,
) -> Result<Content, String> {
    let form: Form = told.json()?;
    let measure: Vec<String> =
        form.measure.iter().take(8).map(|it| format!("- {}", reveal(it))).collect();
    let content = Content {
        subjects: form.subjects.iter().map(|it| reveal(it)).collect(),
        preview_text: reveal(&form.preview_text),
        body: reveal(&form.body),
        social: form
            .social
            .iter()
            .map(|it| Social { network: it.network.clone(), text: reveal(&it.text) })
            .collect(),
        ads: form
            .ads
            .iter()
            .map(|it| Ad { headline: reveal(&it.headline), description: reveal(&it.description) })
            .collect(),
        strategy: format!(
            "## Why this audience\n\n{}\n\n## Timing\n\n{}\n\n## What to measure\n\n{}\n",
            reveal(&form.why),
            reveal(&form.timing),
            measure.join("\n")
        ),
    }
    .tidied();
    content.check().map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    if content.subjects.len() != 3 {
        wrong.push(format!("there are {} subjects instead of 3", content.subjects.len()));
    }
    let compiled = Compiled::of(&content, brand)?;
    let known = |link: &String| {
        brief.links.iter().chain(&brand.links).any(|it| it.url.trim() == link.as_str())
    };
    let texts = content.social.iter().flat_map(|post| post.text.split_whitespace());
    let in_texts = texts.filter(|word| word.contains("://")).map(|word| {
        word.trim_start_matches(['(', '<']).trim_end_matches(['.', ',', ')', '>', '!']).to_owned()
    });
    for link in compiled.links.iter().cloned().chain(in_texts).filter(|link| !known(link)) {
        wrong.push(format!("the address {link} stands in neither brief nor brand"));
    }
    let unfounded = check::unfounded(&content, &check::sources(brief, brand));
    if !unfounded.is_empty() {
        wrong.push(format!(
            "these numbers stand in neither brief nor brand: {}",
            unfounded.join(", ")
        ));
    }
    let low = content.told().collect::<Vec<_>>().join("\n").to_lowercase();
    for word in brand.avoid.iter().filter(|word| low.contains(&word.trim().to_lowercase())) {
        wrong.push(format!("it says {word:?}, which the brand avoids"));
    }
    let outside = content.social.iter().map(|it| &it.text);
    let outside = outside.chain(content.ads.iter().flat_map(|it| [&it.headline, &it.description]));
    if outside.into_iter().any(|text| text.contains("{{")) {
        wrong.push("there is a merge field outside of the mail".to_owned());
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    Ok(content)
}
