//! Creative & Design: whether drafts can be read as mails, and briefs for their images.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use serde_json::json;

use super::{
    super::{
        input::{Gather, Inputs, Line, said},
        report::{Kind, Report, count},
    },
    drafts::{self, Draft},
};
use crate::error::Result;

/// Characters of a word that no narrow screen can break, and of a subject that is shown whole.
const LONGEST_WORD: usize = 40;
const SUBJECT: usize = 60;
/// The narrowest contrast of text (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

pub(super) async fn collect(gather: &mut Gather<'_>) -> Result<()> {
    let columns = ["draft", "status", "images", "links", "what to mend", "faults"];
    let open = drafts::open(gather);
    let line = |draft: &Draft| {
        let layout = Layout::of(draft);
        let number = i64::try_from(layout.faults.len()).unwrap_or_default();
        Line::of([
            said(&draft.name),
            json!(draft.status),
            json!(layout.images),
            json!(layout.links),
            drafts::found(&layout.faults),
            json!(number),
        ])
    };
    drafts::read(gather, "drafts", "Drafts as mails", &columns, open, line).await
}

/// What a mail is made of.
#[derive(Debug, Default)]
struct Layout {
    images: i64,
    links: i64,
    faults: Vec<String>,
}

impl Layout {
    fn of(draft: &Draft) -> Self {
        let mut layout = Self::default();
        let mut alt: Option<String> = None;
        let (mut without, mut level) = (0, 0);
        for event in Parser::new(&draft.body) {
            match event {
                Event::Start(Tag::Image { .. }) => {
                    layout.images += 1;
                    alt = Some(String::new());
                }
                Event::Text(words) => {
                    if let Some(alt) = &mut alt {
                        alt.push_str(&words);
                    }
                }
                Event::End(TagEnd::Image) => {
                    without += i64::from(alt.take().is_some_and(|alt| alt.trim().is_empty()));
                }
                Event::Start(Tag::Link { .. }) => layout.links += 1,
                Event::Start(Tag::Heading { level: found, .. }) => {
                    let found = found as i64;
                    if found > level + 1 && level > 0 {
                        layout
                            .faults
                            .push(format!("a heading of level {found} below one of level {level}"));
                    }
                    level = found;
                }
                _ => {}
            }
        }
        if without > 0 {
            layout.faults.push(format!(
                "{} without words for who cannot see",
                count(without, "image", "images")
            ));
        }
        if layout.links == 0 {
            layout.faults.push("no link: the reader can do nothing".to_owned());
        }
        if draft.plain().split_whitespace().any(|word| word.chars().count() > LONGEST_WORD) {
            layout
                .faults
                .push(format!("a word of more than {LONGEST_WORD} characters, wider than a phone"));
        }
        for subject in &draft.subjects {
            let length = subject.chars().count();
            if length > SUBJECT {
                layout
                    .faults
                    .push(format!("a subject of {length} characters; phones show {SUBJECT}"));
            }
        }
        for (text, ground) in colours(&draft.body) {
            let contrast = contrast(text, ground);
            if contrast < CONTRAST {
                layout.faults.push(format!(
                    "text with a contrast of {contrast:.1} to 1; {CONTRAST} is the least"
                ));
            }
        }
        layout
    }
}

/// Pairs of colours ("color: #777; background: #fff") that a draft's own HTML sets.
fn colours(body: &str) -> Vec<([u8; 3], [u8; 3])> {
    let mut pairs = Vec::new();
    for style in body.split("style=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let (mut text, mut ground) = (None, [255; 3]);
        for rule in style.split(';') {
            let Some((name, value)) = rule.split_once(':') else { continue };
            match name.trim() {
                "color" => text = colour(value.trim()),
                "background" | "background-color" => {
                    ground = colour(value.trim()).unwrap_or(ground);
                }
                _ => {}
            }
        }
        pairs.extend(text.map(|text| (text, ground)));
    }
    pairs
}

fn colour(text: &str) -> Option<[u8; 3]> {
    let hex = text.strip_prefix('#')?;
    let part = |from: usize, to: usize| u8::from_str_radix(hex.get(from..to)?, 16).ok();
    match hex.len() {
        3 => Some([part(0, 1)? * 17, part(1, 2)? * 17, part(2, 3)? * 17]),
        6 => Some([part(0, 2)?, part(2, 4)?, part(4, 6)?]),
        _ => None,
    }
}

/// The ratio of WCAG 2.2, 1 to 21.
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let light = |colour: [u8; 3]| {
        let part = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126f64
            .mul_add(part(colour[0]), 0.7152f64.mul_add(part(colour[1]), 0.0722 * part(colour[2])))
    };
    let (one, other) = (light(one) + 0.05, light(other) + 0.05);
    one.max(other) / one.min(other)
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let drafts = inputs.get("drafts");
    if drafts.is_empty() {
        return Report::new("Nothing to do: there is no draft to look at.");
    }
    let mut report = Report::default();
    for line in drafts.lines.iter().filter(|line| line.number(5) > 0) {
        report.find(format!("{}: {}.", line.text(0), line.text(4)), [line.id.as_str()]);
    }
    for line in drafts.lines.iter().take(3) {
        let body = format!(
            "Image brief for {}\n\nShow: [the one thing the mail is about, in use].\nNot: stock handshakes, text inside the image.\nSize: 1200 by 630 pixels, under 200 KB, PNG or JPEG.\nColours: yours, on a calm ground; text beside it with a contrast of at least 4.5 to 1.\nWords for who cannot see it: [one sentence].\n",
            line.text(0)
        );
        report.propose(Kind::Text, format!("Image brief for {}", line.text(0)), body);
        report.with(json!({}), [line.id.as_str()]);
    }
    report.summary = match report.findings.len() {
        0 => format!(
            "{} looked at: all can be read.",
            count(drafts.rows, "draft was", "drafts were")
        ),
        some => format!(
            "{some} of {} to mend.",
            count(drafts.rows, "draft has something", "drafts have something")
        ),
    };
    report
}

#[cfg(test)]
mod tests {
    use super::{Draft, Layout, colour, contrast};

    fn faults(body: &str) -> Vec<String> {
        let draft = Draft {
            id: 1,
            name: "x".to_owned(),
            status: "draft".to_owned(),
            subjects: vec!["Hello".to_owned()],
            body: body.to_owned(),
        };
        Layout::of(&draft).faults
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert!(faults("# A\n\n![a cat](c.png) [go](https://a.example)").is_empty());
        assert_eq!(
            faults("![](c.png) [go](https://a.example)"),
            ["1 image without words for who cannot see"]
        );
        assert_eq!(
            faults("# A\n\n### B"),
            ["a heading of level 3 below one of level 1", "no link: the reader can do nothing"]
        );
        let grey = faults("[go](https://a.example) <b style=\"color:#aaa;background:#fff\">x</b>");
        assert_eq!(grey, ["text with a contrast of 2.3 to 1; 4.5 is the least"]);
    }

    #[test]
    fn black_on_white_is_twenty_one() {
        let of = |text| colour(text).unwrap();
        assert!((contrast(of("#000"), of("#ffffff")) - 21.0).abs() < 1e-9);
        assert_eq!(colour("red"), None);
        assert_eq!(colour("#ééé"), None);
    }
}
