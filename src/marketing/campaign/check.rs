//! The checklist of a campaign: what can be told by looking, before anybody gets it.

use std::{collections::BTreeSet, fmt::Write};

use serde::Serialize;
use url::Url;

use super::{
    audience::{self, Audience},
    compile::Compiled,
    content::{Content, Engine},
    merge::Field,
    render::{NOWHERE, Person},
    store::{self, Campaign, Version},
};
use crate::{
    app::App,
    auth::OrganizationId,
    error::Result,
    marketing::brand::{self, Brand, contrast},
};

/// Larger mails are cut off by some programs that show them.
const MAX_HTML: usize = 100 << 10;

/// How an item came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ChecklistState)]
pub enum State {
    Pass,
    /// Worth a look.
    Warn,
    /// It cannot be approved so.
    Fail,
}

/// One item.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ChecklistItem)]
pub struct Item {
    /// Stable: scripts may match it.
    pub id: &'static str,
    pub state: State,
    pub title: &'static str,
    /// What was found, and what to do.
    pub text: String,
}

/// All items of a version.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Checklist {
    pub version: i64,
    /// The worst of the items.
    pub state: State,
    pub items: Vec<Item>,
    pub audience: Option<Audience>,
}

impl Checklist {
    pub fn fails(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.state == State::Fail)
    }
}

/// Looks through the newest version of a campaign.
pub async fn check(
    app: &App,
    organization: OrganizationId,
    campaign: &Campaign,
) -> Result<Checklist> {
    let version = store::version(&app.db, organization, campaign.id, campaign.version).await?;
    let brand = brand::store::find(&app.db, organization).await?.brand;
    let audience = match campaign.segment_id {
        Some(segment) => Some(audience::count(app, organization, segment).await?),
        None => None,
    };
    Ok(of(campaign, &version, &brand, audience))
}

/// The same of what is known already.
pub fn of(
    campaign: &Campaign,
    version: &Version,
    brand: &Brand,
    audience: Option<Audience>,
) -> Checklist {
    let content = &version.content;
    let mut items = vec![recipients(audience.as_ref()), subjects(content), preview(content)];
    match Compiled::of(content, brand) {
        Err(why) => items.push(fail("merge_fields", "Merge fields", why)),
        Ok(compiled) => {
            items.push(unsubscribe(&compiled));
            items.push(address(brand));
            items.push(links(&compiled));
            items.push(merge_fields(&compiled, audience.as_ref()));
            items.push(wording(content, brand));
            items.push(numbers(campaign, version, brand));
            items.push(length(&compiled));
            items.push(pictures(&compiled));
            items.push(text_part(&compiled));
            items.push(colours(brand));
            items.push(size(&compiled));
        }
    }
    let state = items.iter().map(|item| item.state).max().unwrap_or(State::Pass);
    Checklist { version: version.version, state, items, audience }
}

fn item(id: &'static str, state: State, title: &'static str, text: impl Into<String>) -> Item {
    Item { id, state, title, text: text.into() }
}

fn pass(id: &'static str, title: &'static str, text: impl Into<String>) -> Item {
    item(id, State::Pass, title, text)
}

fn warn(id: &'static str, title: &'static str, text: impl Into<String>) -> Item {
    item(id, State::Warn, title, text)
}

fn fail(id: &'static str, title: &'static str, text: impl Into<String>) -> Item {
    item(id, State::Fail, title, text)
}

/// "3 contacts", "1 contact".
pub fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn recipients(audience: Option<&Audience>) -> Item {
    let (id, title) = ("audience", "Audience");
    let Some(audience) = audience else {
        return fail(id, title, "no segment is chosen; choose who gets it");
    };
    let left_out: Vec<String> = [
        (audience.without_consent, "did not agree to mail"),
        (audience.without_email, "without an e-mail address"),
        (audience.bounced, "whose address bounced or who complained"),
        (audience.suppressed, "on the suppression list"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, why)| format!("{number} {why}"))
    .collect();
    let of = counted(audience.members, "contact", "contacts");
    let mut text = format!("{} of {of} in the segment", audience.recipients);
    if !left_out.is_empty() {
        let _ = write!(text, "; left out: {}", left_out.join(", "));
    }
    if audience.recipients == 0 {
        return fail(id, title, format!("nobody would get it: {text}"));
    }
    pass(id, title, text)
}

fn subjects(content: &Content) -> Item {
    let (id, title) = ("subject", "Subject");
    let long = |subject: &&String| subject.chars().count() > 70;
    if let Some(subject) = content.subjects.iter().find(long) {
        let length = subject.chars().count();
        return warn(
            id,
            title,
            format!(
                "{subject:?} has {length} characters; telephones show about 40, others about 70"
            ),
        );
    }
    if let Some(subject) = content.subjects.iter().find(|subject| subject.chars().count() < 10) {
        return warn(id, title, format!("{subject:?} says little; 20 to 60 characters are usual"));
    }
    let count = i64::try_from(content.subjects.len()).unwrap_or(0);
    pass(id, title, format!("{} of good length", counted(count, "subject", "subjects")))
}

fn preview(content: &Content) -> Item {
    let (id, title) = ("preview_text", "Preview text");
    let length = content.preview_text.chars().count();
    if length == 0 {
        return warn(id, title, "is missing: mail programs show the beginning of the body instead");
    }
    if content.subjects.contains(&content.preview_text) {
        return warn(id, title, "repeats the subject; say something more");
    }
    if !(30..=140).contains(&length) {
        return warn(id, title, format!("has {length} characters; 40 to 110 are shown"));
    }
    pass(id, title, format!("{length} characters"))
}

fn unsubscribe(compiled: &Compiled) -> Item {
    let text = if compiled.own_unsubscribe {
        "stands in the body and in the footer"
    } else {
        "Lux adds the link to the footer, and the header for one click"
    };
    pass("unsubscribe", "Unsubscribe link", text)
}

fn address(brand: &Brand) -> Item {
    let (id, title) = ("postal_address", "Postal address");
    if brand.address.trim().is_empty() {
        let text = "the brand has none; many countries want it in every marketing mail";
        return warn(id, title, text);
    }
    pass(id, title, "stands in the footer")
}

fn links(compiled: &Compiled) -> Item {
    let (id, title) = ("links", "Links");
    for link in &compiled.links {
        let Ok(url) = Url::parse(link) else {
            return fail(id, title, format!("{link:?} is no web address; write https://…"));
        };
        if let Some(why) = brand::trouble(&url) {
            return fail(id, title, format!("{link} {why}"));
        }
    }
    if let Some(link) = compiled.links.iter().find(|link| link.starts_with("http://")) {
        return warn(id, title, format!("{link} is not encrypted; use https:// if it can"));
    }
    match compiled.links.len() {
        0 => warn(id, title, "there is none; readers have nothing to follow"),
        1 => pass(id, title, "1 link, well formed (whether it answers was not tried)"),
        many => {
            pass(id, title, format!("{many} links, well formed (not tried whether they answer)"))
        }
    }
}

fn merge_fields(compiled: &Compiled, audience: Option<&Audience>) -> Item {
    let (id, title) = ("merge_fields", "Merge fields");
    let bare = compiled.fields.iter().filter(|merge| {
        merge.default.as_deref().unwrap_or("").is_empty() && merge.field != Field::Unsubscribe
    });
    let bare: BTreeSet<String> = bare
        .map(|merge| {
            let lacking = audience.and_then(|audience| match merge.field {
                Field::FirstName => Some(audience.without_first_name),
                Field::LastName => Some(audience.without_last_name),
                Field::Company => Some(audience.without_company),
                Field::Attribute(_) | Field::Unsubscribe => None,
            });
            let name = merge.field.name();
            match lacking {
                Some(0) => String::new(),
                Some(number) => format!("{name} (empty for {number})"),
                None => name,
            }
        })
        .filter(|text| !text.is_empty())
        .collect();
    if !bare.is_empty() {
        let bare = bare.into_iter().collect::<Vec<_>>().join(", ");
        return warn(id, title, format!("without a default: {bare}; add |default(\"words\")"));
    }
    if compiled.fields.is_empty() {
        return pass(id, title, "none is used");
    }
    pass(id, title, "all are known, and say something for everybody")
}

/// Words that filters of spam look for, in lower case.
const SPAM: &[&str] = &[
    "100% free",
    "act now",
    "buy now",
    "cash bonus",
    "click below",
    "click here",
    "congratulations",
    "dear friend",
    "double your",
    "earn extra",
    "exclusive deal",
    "free money",
    "guaranteed",
    "increase sales",
    "limited time",
    "lowest price",
    "make money",
    "miracle",
    "money back",
    "no catch",
    "no cost",
    "no obligation",
    "once in a lifetime",
    "order now",
    "risk free",
    "risk-free",
    "special promotion",
    "this is not spam",
    "urgent",
    "winner",
    "you have been selected",
    "gratis",
    "jetzt zuschlagen",
    "nur heute",
    "garantiert",
    "gewinner",
];

fn wording(content: &Content, brand: &Brand) -> Item {
    let (id, title) = ("wording", "Wording");
    let all = content.told().collect::<Vec<_>>().join("\n");
    let low = all.to_lowercase();
    let avoided = brand.avoid.iter().find(|word| low.contains(&word.trim().to_lowercase()));
    if let Some(word) = avoided {
        return fail(id, title, format!("says {word:?}, which the brand avoids"));
    }
    let mut found = Vec::new();
    let spam: Vec<&str> = SPAM.iter().copied().filter(|word| low.contains(word)).collect();
    if !spam.is_empty() {
        found.push(format!("says {}, which filters know", spam.join(", ")));
    }
    let mailed = content.subjects.join(" ") + " " + &content.preview_text + " " + &content.body;
    let capitals: BTreeSet<&str> = mailed
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| word.chars().count() > 4 && word.chars().all(char::is_uppercase))
        .collect();
    if !capitals.is_empty() {
        let words = capitals.into_iter().take(5).collect::<Vec<_>>().join(", ");
        found.push(format!("shouts in capitals: {words}"));
    }
    let marks = mailed.matches('!').count();
    if marks > 2 || mailed.contains("!!") {
        found.push(format!("has {marks} exclamation marks"));
    }
    if found.is_empty() {
        return pass(id, title, "nothing that filters or readers mind");
    }
    warn(id, title, found.join("; "))
}

/// Numbers that a text names: "20", "9.99", "2026". Those that number a list are none.
pub(super) fn numbers_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // What stands in a merge field or an address is no statement.
    for line in text.lines() {
        let line = line.trim_start();
        let after = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let line =
            if after.len() < line.len() && (after.starts_with(". ") || after.starts_with(") ")) {
                after
            } else {
                line
            };
        for word in line.split_whitespace() {
            if word.contains("://") {
                continue;
            }
            let mut number = String::new();
            for c in word.chars().chain([' ']) {
                let inside = !number.is_empty() && matches!(c, '.' | ',');
                if c.is_ascii_digit() || inside {
                    number.push(if c == ',' { '.' } else { c });
                    continue;
                }
                let whole = number.trim_end_matches('.');
                if !whole.is_empty() {
                    found.insert(whole.to_owned());
                }
                number.clear();
            }
        }
    }
    found
}

/// Numbers of a text that stand neither in the brief nor in the brand.
pub(super) fn unfounded(content: &Content, sources: &str) -> Vec<String> {
    let known = numbers_in(sources);
    let told = content.told().flat_map(numbers_in).collect::<BTreeSet<_>>();
    told.into_iter().filter(|number| !known.contains(number)).collect()
}

/// What drafts may take their facts from.
pub(super) fn sources(campaign: &super::brief::Brief, brand: &Brand) -> String {
    let brand = [&brand.name, &brand.voice, &brand.offer, &brand.audience, &brand.goals]
        .map(String::as_str)
        .join("\n");
    format!("{}\n{brand}", campaign.in_words())
}

fn numbers(campaign: &Campaign, version: &Version, brand: &Brand) -> Item {
    let (id, title) = ("numbers", "Numbers");
    let unfounded = unfounded(&version.content, &sources(&campaign.brief, brand));
    if unfounded.is_empty() {
        return pass(id, title, "all stand in the brief or the brand");
    }
    let listed = unfounded.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
    let text = format!("in neither brief nor brand: {listed}");
    if version.engine == Engine::Model {
        return fail(
            id,
            title,
            format!("{text}; a model wrote this: correct or confirm it by editing"),
        );
    }
    warn(id, title, format!("{text}; look whether they are right"))
}

fn length(compiled: &Compiled) -> Item {
    let (id, title) = ("length", "Length");
    match compiled.words {
        words @ 0..20 => {
            warn(id, title, format!("{words} words; readers may miss what it is about"))
        }
        words @ 20..=400 => pass(id, title, format!("{words} words")),
        words => warn(id, title, format!("{words} words; few read more than 400")),
    }
}

fn pictures(compiled: &Compiled) -> Item {
    let (id, title) = ("pictures", "Pictures");
    match compiled.without_alt {
        0 => pass(id, title, "each says what it shows, or there is none"),
        many => warn(
            id,
            title,
            format!("{many} without a text for those who do not see them: ![what it shows](…)"),
        ),
    }
}

fn text_part(compiled: &Compiled) -> Item {
    let (id, title) = ("text_part", "Text part");
    if compiled.words == 0 {
        return fail(id, title, "is empty: the body has no words");
    }
    pass(id, title, "is made from the body")
}

fn colours(brand: &Brand) -> Item {
    let (id, title) = ("contrast", "Contrast");
    let colours = brand.colours;
    for (name, one) in [("text", colours.text), ("accent", colours.accent)] {
        let found = contrast(one, colours.background);
        if found < 4.5 {
            return warn(
                id,
                title,
                format!(
                    "the brand's {name} colour {one} upon {} has {found:.1} to 1; text needs 4.5",
                    colours.background
                ),
            );
        }
    }
    pass(id, title, "the brand's colours can be read, also upon dark screens")
}

fn size(compiled: &Compiled) -> Item {
    let (id, title) = ("size", "Size");
    let bytes = compiled.letter(&Person::default(), 0, 0, NOWHERE).html.len();
    let kib = bytes.div_ceil(1024);
    if bytes > MAX_HTML {
        return fail(id, title, format!("{kib} KiB; above 100 KiB programs cut it off"));
    }
    pass(id, title, format!("{kib} KiB"))
}

#[cfg(test)]
mod tests {
    use super::{Content, numbers_in, unfounded};

    #[test]
    fn numbers_are_found_where_they_say_something() {
        let of = |text: &str| numbers_in(text).into_iter().collect::<Vec<_>>();
        assert_eq!(of("20% off, only 9,99 EUR until 12.12.2026."), ["12.12.2026", "20", "9.99"]);
        assert_eq!(of("1. one\n2. two\n  3) three"), Vec::<String>::new());
        assert_eq!(of("see https://a.example/2024"), Vec::<String>::new());
        assert_eq!(of("v2 and 3x"), ["2", "3"]);
    }

    #[test]
    fn what_nobody_said_is_named() {
        let content = Content { body: "Save 30% now, 20 left".to_owned(), ..Content::default() };
        assert_eq!(unfounded(&content, "There are 20 places"), ["30"]);
    }
}
