//! "Who signed up this week, and from where?" and "write a Black Friday campaign for people who
//! came from the webinar", read from the operator's words and answered from the database.

use std::fmt::Write;

use chrono::TimeDelta;

use super::{
    Chat, Question,
    answer::Answer,
    tools::{User, open},
};
use crate::{
    clock,
    contacts::segment,
    error::Result,
    marketing::{
        agent::input::Input,
        campaign::{Brief, Wish},
    },
};

/// Sources that are known by their names.
const SOURCES: i64 = 200;

impl Chat {
    pub(super) async fn signups(&self, question: &Question) -> Result<Answer> {
        let (days, words) = period(&question.message);
        let since = clock::now() - TimeDelta::days(days);
        let inputs = self.tools.agents().signups(question.owner.organization, since).await?;
        let totals = inputs.get("signups");
        let (now, before) = (totals.first(0), totals.first(1));
        let mut answer = Answer::default();
        let cited = cite(&mut answer, totals);
        let people = if now == 1 { "contact" } else { "contacts" };
        answer.text = format!(
            "**{now} {people} signed up {words}**{cited}, {before} in as long a time before.\n"
        );
        for (id, head, nowhere) in
            [("sources", "From where", "an unknown source"), ("segments", "In which segments", "")]
        {
            let input = inputs.get(id);
            if input.is_empty() {
                continue;
            }
            let cited = cite(&mut answer, input);
            // Writing to a String cannot fail.
            let _ = write!(answer.text, "\n{head}{cited}:\n");
            for line in &input.lines {
                let name = if line.text(0).is_empty() { nowhere } else { line.text(0) };
                let _ = writeln!(answer.text, "- {}: {}", shown(name), line.number(1));
            }
        }
        if now == 0 {
            answer.text.push_str("\nContacts arrive by the webhook, from a file, or by the API.\n");
        }
        Ok(answer)
    }

    /// Makes the draft that the operator's words ask for; who may not is told so.
    pub(super) async fn draft_campaign(&self, question: &Question) -> Result<Answer> {
        if !question.role.may_operate() {
            return Ok(Answer::of("A campaign is drafted for operators and administrators only."));
        }
        let Wanted { name, audience } = wanted(&question.message);
        let organization = question.owner.organization;
        let chosen = self.audience(question, &audience).await?;
        let wish = Wish {
            name: name.clone(),
            brief: Brief {
                goal: question.message.trim().chars().take(500).collect(),
                offer: name.clone(),
                audience: audience.clone(),
                ..Brief::default()
            },
            segment_id: chosen.segment.as_ref().map(|(id, _)| *id),
            model: true,
        };
        let user = User {
            organization,
            role: question.role,
            name: question.owner.author.clone(),
            app: None,
            wants_repair: false,
            wants_marketing: true,
            wants_ticket: false,
        };
        let id = self.tools.draft(&user, &wish).await?;
        let mut answer = Answer::default();
        let how = if self.app.llm.is_on() { "" } else { ", as a template with your own words" };
        answer.text = format!(
            "**\"{}\" is drafted{how}.** Open it at `/campaigns/{id}`, edit it, and have it \
             approved: nothing is sent before that.\n",
            shown(&name)
        );
        match (&chosen.source, &chosen.segment) {
            (Some((source, contacts)), segment) => {
                let text = format!("{contacts} contacts came from {source}");
                let number = answer.cite("contacts", 0, &text);
                let _ = write!(
                    answer.text,
                    "\n{contacts} contacts came from {} [{number}].",
                    shown(source)
                );
                match segment {
                    Some((_, name)) => {
                        let _ = write!(answer.text, " The segment {} gets it.", shown(name));
                    }
                    None => answer.text.push_str(
                        " No segment is of them yet: make one by the rule \"source is\", and \
                         choose it as the audience.",
                    ),
                }
            }
            (None, Some((_, name))) => {
                let _ = write!(answer.text, "\nThe segment {} gets it.", shown(name));
            }
            (None, None) => answer.text.push_str(
                "\nWho gets it is still to be chosen: no source and no segment has that name.",
            ),
        }
        answer.text.push('\n');
        answer.proposals.push(open("Open the draft", &format!("/campaigns/{id}")));
        Ok(answer)
    }

    /// The source and the segment that the words for an audience name.
    async fn audience(&self, question: &Question, audience: &str) -> Result<Audience> {
        let organization = question.owner.organization;
        let audience = audience.to_lowercase();
        let sources: Vec<(String, i64)> = self
            .app
            .db
            .query(
                "select source, count(*) from contact
                 where organization_id = $1 and source <> ''
                 group by source order by 2 desc, source limit $2",
            )
            .bind(organization)
            .bind(SOURCES)
            .all()
            .await?;
        let source = sources.into_iter().find(|(source, _)| names(&audience, source));
        let segments = segment::list(&self.app.db, organization).await?;
        let segment = segments.into_iter().find(|segment| {
            let of_source = source.as_ref().is_some_and(|(source, _)| is_of(segment, source));
            of_source || names(&audience, &segment.name)
        });
        Ok(Audience { source, segment: segment.map(|it| (it.id, it.name)) })
    }
}

/// Whom a campaign is for, as far as rows know.
struct Audience {
    /// With how many contacts it has.
    source: Option<(String, i64)>,
    segment: Option<(i64, String)>,
}

/// Whether a segment's rule is that the contact came from this source.
fn is_of(segment: &segment::Segment, source: &str) -> bool {
    let Some(segment::Rule::Condition(condition)) = &segment.rule else { return false };
    let value = condition.value.as_str().unwrap_or_default().to_lowercase();
    condition.field == "source"
        && matches!(condition.op, segment::Op::Is | segment::Op::Contains)
        && !value.is_empty()
        && source.to_lowercase().contains(&value)
}

/// Whether words name something: whole, or by a word of it that is long enough to mean it.
fn names(words: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let parts = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
    };
    let words_of = parts(words);
    !name.is_empty()
        && (words.contains(&name)
            || parts(&name).iter().any(|part| part.len() >= 5 && words_of.contains(part)))
}

/// The statement behind a table, as what an answer rests on.
fn cite(answer: &mut Answer, input: &Input) -> String {
    let sql = input.sql.as_deref().unwrap_or_default();
    format!(" [{}]", answer.cite("contacts", 0, sql))
}

/// A text of a contact in an answer's Markdown.
fn shown(text: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, '`' | '*' | '[' | ']' | '<' | '>' | '_');
    text.chars().filter(|c| plain(*c)).take(100).collect()
}

/// The time that a question is about: days, and how it is said.
fn period(message: &str) -> (i64, String) {
    let words = message.to_lowercase();
    let number = words
        .split_whitespace()
        .zip(words.split_whitespace().skip(1))
        .find(|(_, unit)| unit.starts_with("day"))
        .and_then(|(number, _)| number.parse::<i64>().ok())
        .filter(|days| (1..=365).contains(days));
    match number {
        Some(days) => (days, format!("in the last {days} days")),
        None if words.contains("today") => (1, "in the last 24 hours".to_owned()),
        None if words.contains("month") => (30, "in the last 30 days".to_owned()),
        None if words.contains("quarter") => (91, "in the last 91 days".to_owned()),
        None if words.contains("year") => (365, "in the last 365 days".to_owned()),
        None => (7, "in the last 7 days".to_owned()),
    }
}

/// What a campaign is to be called, and for whom it is.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    audience: String,
}

fn wanted(message: &str) -> Wanted {
    let message: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // Of ASCII only, so that places are the same in both.
    let lower = message.to_ascii_lowercase();
    let kind = ["campaign", "newsletter"].iter().find_map(|kind| Some((lower.find(kind)?, kind)));
    let Some((at, kind)) = kind else {
        return Wanted { name: "Campaign".to_owned(), audience: String::new() };
    };
    let before = &message[..at];
    let skip = [
        "please", "can", "could", "you", "write", "draft", "create", "prepare", "make", "plan",
        "me", "us", "a", "an", "the", "our", "new", "mail", "email",
    ];
    let name: Vec<&str> = before
        .split(' ')
        .skip_while(|word| word.is_empty() || skip.contains(&word.to_ascii_lowercase().as_str()))
        .filter(|word| !word.is_empty())
        .collect();
    let after = &message[at + kind.len()..];
    let after = after.trim_start_matches('s').trim();
    let audience = ["for ", "to "]
        .iter()
        .filter_map(|word| {
            let lower = after.to_ascii_lowercase();
            let at = if lower.starts_with(word) {
                Some(0)
            } else {
                lower.find(&format!(" {word}")).map(|at| at + 1)
            };
            at.map(|at| (at, word.len()))
        })
        .min()
        .map_or("", |(at, length)| &after[at + length..]);
    let name = if name.is_empty() {
        if *kind == "newsletter" { "Newsletter".to_owned() } else { "Campaign".to_owned() }
    } else {
        name.join(" ").chars().take(100).collect()
    };
    Wanted {
        name,
        audience: audience.trim_end_matches(['.', '!', '?']).chars().take(300).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted, names, period, shown, wanted};

    #[test]
    fn a_wish_says_what_and_for_whom() {
        for (message, name, audience) in [
            (
                "write a Black Friday campaign for people who came from the webinar",
                "Black Friday",
                "people who came from the webinar",
            ),
            ("Draft the newsletter to everybody.", "Newsletter", "everybody"),
            ("please create a campaign", "Campaign", ""),
            ("Schreib  a Süßes campaign for Österreich!", "Schreib a Süßes", "Österreich"),
        ] {
            let expected = Wanted { name: name.to_owned(), audience: audience.to_owned() };
            assert_eq!(wanted(message), expected, "{message}");
        }
    }

    #[test]
    fn a_source_is_known_by_a_word_of_it() {
        assert!(names("people who came from the webinar", "Webinar 2026"));
        assert!(names("people from form a", "form a"));
        assert!(!names("people who came", "come"));
        assert!(!names("people", ""));
    }

    #[test]
    fn times_are_read() {
        assert_eq!(period("who signed up this week?").0, 7);
        assert_eq!(period("who signed up in the last 14 days").0, 14);
        assert_eq!(period("new contacts today").0, 1);
        assert_eq!(shown("a`b*c[d](e)<f>"), "abcd(e)f");
    }
}
