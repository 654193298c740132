//! Drafts without a model: the brief's own words, put where they belong. It says of itself that
//! it is a template.

use std::fmt::Write;

use super::{
    brief::Brief,
    content::{Ad, Content, MAX_DESCRIPTION, MAX_HEADLINE, NETWORKS, Social},
};
use crate::marketing::brand::Brand;

/// The first line of a text, at most so many characters, cut between words.
fn short(text: &str, most: usize) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    if line.chars().count() <= most {
        return line.trim_end_matches('.').to_owned();
    }
    let mut out = String::new();
    for word in line.split_whitespace() {
        if out.chars().count() + word.chars().count() + 2 > most {
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if out.is_empty() {
        return line.chars().take(most).collect();
    }
    out.trim_end_matches([',', '.', ';', ':', '–', '-']).to_owned() + "…"
}

/// Texts made of the brief and the brand alone.
pub(super) fn content(brief: &Brief, brand: &Brand) -> Content {
    let offer = if brief.offer.trim().is_empty() { &brief.goal } else { &brief.offer };
    let headline = short(offer, 56);
    let sender = brand.name.trim();
    let from = if sender.is_empty() { "News" } else { sender };
    let subjects = vec![
        headline.clone(),
        format!("{}: {}", short(from, 20), short(offer, 38)),
        format!("{{{{ first_name|default(\"For you\") }}}}: {}", short(offer, 46)),
    ];
    let second = offer.lines().map(str::trim).filter(|line| !line.is_empty()).nth(1);
    let preview_text = second.map_or_else(|| short(&brief.goal, 100), |line| short(line, 100));
    let label = match brief.call_to_action.trim() {
        "" => "Read more",
        words => words,
    };
    let mut body =
        format!("Hello {{{{ first_name|default(\"there\") }}}},\n\n{}\n\n", offer.trim());
    if !brief.date.trim().is_empty() {
        let _ = write!(body, "**When:** {}\n\n", brief.date.trim());
    }
    let link = brief.links.first().or(brand.links.first());
    if let Some(link) = link {
        let _ = write!(body, "[{label}]({})\n\n", link.url);
    }
    for link in brief.links.iter().skip(1) {
        let label = if link.label.trim().is_empty() { &link.url } else { &link.label };
        let _ = writeln!(body, "- [{label}]({})", link.url);
    }
    body = format!(
        "{}\n\nBest regards,\n{}",
        body.trim_end(),
        if sender.is_empty() { "your team" } else { sender }
    );
    let url = link.map_or("", |link| link.url.as_str());
    let social = NETWORKS.iter().map(|(network, limit)| {
        let room = limit.saturating_sub(url.chars().count() + 1).min(600);
        let text = format!("{} {url}", short(offer, room)).trim().to_owned();
        Social { network: (*network).to_owned(), text: text.chars().take(*limit).collect() }
    });
    let ads = [offer.as_str(), brief.goal.as_str(), brand.offer.as_str()]
        .into_iter()
        .filter(|text| !text.trim().is_empty())
        .map(|text| Ad {
            headline: short(text, MAX_HEADLINE),
            description: short(&format!("{} {label}", short(text, 70)), MAX_DESCRIPTION),
        });
    let mut ads: Vec<Ad> = ads.collect();
    ads.dedup();
    Content {
        subjects,
        preview_text,
        body,
        social: social.collect(),
        ads,
        strategy: strategy(brief, brand),
    }
}

fn strategy(brief: &Brief, brand: &Brand) -> String {
    let whom = match (brief.audience.trim(), brand.audience.trim()) {
        ("", "") => "The brief names no audience: say whom it is for, and why they should care.",
        ("", of_brand) => of_brand,
        (named, _) => named,
    };
    let when = match brief.date.trim() {
        "" => {
            "The brief names no date. Choose a time at which these readers look at their mail; \
               their own answers will tell more than any rule."
        }
        date => date,
    };
    format!(
        "*This is a template filled in with the words of the brief. No model wrote it: read it, and \
         put it into your own words.*\n\n## Why this audience\n\n{whom}\n\n## Timing\n\n{when}\n\n\
         ## What to measure\n\n- Mails sent, refused and bounced, which Lux counts\n- Who \
         unsubscribed after it\n- Visits of the linked pages in your own logs\n- Whether the goal \
         was reached: {}\n",
        brief.goal.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::{Brief, content};
    use crate::marketing::brand::{Brand, Link};

    #[test]
    fn a_template_is_a_valid_draft() {
        let long = "An offer of many words that goes on and on. ".repeat(60);
        for (goal, offer) in [
            ("Sell the course", ""),
            ("Sell", "The course costs 49 EUR\nIt begins soon"),
            (long.as_str(), long.as_str()),
            ("ß".repeat(300).as_str(), ""),
        ] {
            let brief = Brief {
                goal: goal.to_owned(),
                offer: offer.to_owned(),
                links: vec![Link {
                    label: String::new(),
                    url: "https://shop.example/course".to_owned(),
                }],
                ..Brief::default()
            };
            let content = content(&brief, &Brand::default()).tidied();
            content.check().unwrap();
            assert_eq!(content.subjects.len(), 3);
            assert!(content.strategy.contains("template"), "{}", content.strategy);
            assert!(super::super::check::unfounded(&content, &brief.in_words()).is_empty());
        }
    }
}
