//! Social & Community: posts of approved campaigns, each within its network's length.

use serde_json::json;

use super::{
    super::{
        input::{Gather, Inputs, Line, said},
        report::{Kind, Report, count},
    },
    drafts::{self, Draft},
};
use crate::error::Result;

/// Networks and the characters of a post.
const NETWORKS: [(&str, usize); 6] = [
    ("X", 280),
    ("Bluesky", 300),
    ("Mastodon", 500),
    ("Threads", 500),
    ("Instagram", 2200),
    ("LinkedIn", 3000),
];

/// Of a campaign's text so much is kept for posts.
const MOST: usize = 3000;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let columns = ["campaign", "status", "characters", "text"];
    let approved = drafts::approved(gather);
    let line = |draft: &Draft| {
        // A merge field means nothing to everybody.
        let text = without_fields(&draft.plain());
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        Line::of([
            said(&draft.name),
            json!(draft.status),
            json!(length),
            json!(text.chars().take(MOST).collect::<String>()),
        ])
    };
    drafts::read(gather, "approved", "Approved campaigns", &columns, approved, line).await?;
    let rows = NETWORKS.iter().map(|(name, most)| Line::of([json!(name), json!(most)])).collect();
    gather.add("networks", "Networks and their lengths", &["network", "characters"], rows);
    Ok(())
}

fn without_fields(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        rest = after.split_once("}}").map_or("", |(_, behind)| behind);
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As many whole sentences as there is room for, else words.
fn fitted(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let cut: String = text.chars().take(most - 1).collect();
    if let Some(end) = cut.rfind(['.', '!', '?']).filter(|end| *end > cut.len() / 3) {
        return cut[..=end].to_owned();
    }
    let end = cut.rfind(' ').unwrap_or(cut.len());
    format!("{}…", &cut[..end])
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let approved = inputs.get("approved");
    if approved.is_empty() {
        return Report::new("Nothing to do: no campaign is approved yet.");
    }
    let mut report = Report::new(format!(
        "{} for {}.",
        count(approved.rows.min(3) * 6, "post is ready to copy", "posts are ready to copy"),
        count(approved.rows.min(3), "campaign", "campaigns")
    ));
    for line in approved.lines.iter().take(3) {
        report.find(
            format!(
                "{} has {} characters; six networks take it cut to their length.",
                line.text(0),
                line.number(2)
            ),
            [line.id.as_str(), "networks"],
        );
        let posts: Vec<String> = NETWORKS
            .iter()
            .map(|(name, most)| {
                let post = fitted(line.text(3), *most);
                format!("{name} ({} of {most} characters)\n{post}", post.chars().count())
            })
            .collect();
        report.propose(Kind::Text, format!("Posts for {}", line.text(0)), posts.join("\n\n"));
        report.with(json!({}), [line.id.as_str()]);
    }
    report.note("No account is connected, so nothing is posted: copy what you like.");
    report
}

#[cfg(test)]
mod tests {
    use super::{fitted, without_fields};

    #[test]
    fn posts_fit() {
        assert_eq!(fitted("Short.", 280), "Short.");
        assert_eq!(fitted("One two. Three four five six.", 12), "One two.");
        assert_eq!(fitted("onetwothree fourfivesix", 15), "onetwothree…");
        let long = "wort ".repeat(200);
        assert!(fitted(&long, 280).chars().count() <= 280);
        assert_eq!(without_fields("Hello {{ first_name }}, welcome"), "Hello , welcome");
    }
}
