//! Content & SEO: the pages that an operator named, and what visitors asked for in vain.

mod page;

use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::json;
use url::Url;

use super::{
    super::{
        input::{Gather, Inputs, Line, said},
        report::{Kind, Report, count},
    },
    traffic::{self, Wanted},
};
use crate::{
    error::Result,
    outbound::{Target, Visit},
};
use page::Page;

/// Pages that one run fetches, those of sitemaps included.
const MOST_PAGES: usize = 30;
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters that a search engine shows.
const TITLE: (usize, usize) = (10, 60);
const DESCRIPTION: (usize, usize) = (50, 160);

pub(super) async fn collect(gather: &mut Gather<'_>, pages: &[String]) -> Result<()> {
    let mut lines = Vec::new();
    let mut waiting: Vec<Url> =
        pages.iter().filter_map(|page| Url::parse(page).ok()).rev().collect();
    let mut seen: Vec<Url> = Vec::new();
    while let Some(url) = waiting.pop() {
        if seen.len() >= MOST_PAGES {
            break;
        }
        if seen.contains(&url) {
            continue;
        }
        seen.push(url.clone());
        match fetch(gather, &url).await {
            Ok((status, body, is_sitemap)) if is_sitemap => {
                let named = page::locations(&body, &url, MOST_PAGES);
                let found = format!("{} pages of this origin named", named.len());
                lines.push(row(&url, i64::from(status), &Page::default(), &[found], 0));
                waiting.extend(named.into_iter().rev());
            }
            Ok((status, body, _)) => {
                let page = Page::read(&body);
                let faults = faults(status, &page);
                let number = i64::try_from(faults.len()).unwrap_or_default();
                lines.push(row(&url, i64::from(status), &page, &faults, number));
            }
            Err(why) => lines.push(row(&url, 0, &Page::default(), &[why], 1)),
        }
    }
    let columns = [
        "page",
        "status",
        "title",
        "description",
        "h1",
        "links",
        "words",
        "what to mend",
        "faults",
    ];
    gather.add("site", "Pages of your site", &columns, lines);
    if pages.is_empty() {
        gather.note("No page is named. Name pages or a sitemap at this agent's settings.");
    } else if !waiting.is_empty() {
        gather.note(format!("Only the first {MOST_PAGES} were fetched."));
    }
    let wanted = Wanted { pages: true, missing: true, ..Wanted::default() };
    traffic::read(gather, wanted).await
}

fn row(url: &Url, status: i64, page: &Page, faults: &[String], number: i64) -> Line {
    Line::of([
        said(url.as_str()),
        json!(status),
        said(&page.title),
        said(&page.description),
        said(page.headings.first().map_or("", String::as_str)),
        json!(page.links),
        json!(page.words),
        json!(faults.join("; ")),
        json!(number),
    ])
}

/// Asks for a page, within the address rules of all requests of Lux to other servers.
async fn fetch(gather: &Gather<'_>, url: &Url) -> std::result::Result<(u16, String, bool), String> {
    let target = Target::new(url).map_err(|refusal| refusal.to_string())?;
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let url = target.configured(&path).map_err(|refusal| refusal.to_string())?;
    let visit = Visit {
        target: &target,
        url,
        method: Method::GET,
        headers: HeaderMap::new(),
        body: None,
        mark: "content_seo",
        timeout: PATIENCE,
        follow: true,
        may_lead_to: &|_| Ok(()),
    };
    let seen = gather.app.outbound.visitor().visit(visit).await.map_err(|failed| failed.why)?;
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    let head = &body[..body.floor_char_boundary(500)];
    let is_sitemap = head.contains("<urlset") || head.contains("<sitemapindex");
    Ok((seen.status.as_u16(), body, is_sitemap))
}

fn faults(status: u16, page: &Page) -> Vec<String> {
    if status >= 400 {
        return vec![format!("answers {status}")];
    }
    let mut faults = Vec::new();
    let mut length =
        |what: &str, text: &str, (least, most): (usize, usize)| match text.chars().count() {
            0 => faults.push(format!("no {what}")),
            short if short < least => {
                faults.push(format!("{what} of {short} characters, under {least}"));
            }
            long if long > most => faults.push(format!("{what} of {long} characters, over {most}")),
            _ => {}
        };
    length("title", &page.title, TITLE);
    length("description", &page.description, DESCRIPTION);
    match page.headings.len() {
        0 => faults.push("no h1".to_owned()),
        1 => {}
        many => faults.push(format!("{many} h1")),
    }
    if page.images_without_alt > 0 {
        faults.push(format!("{} without alt", count(page.images_without_alt, "image", "images")));
    }
    if page.is_hidden {
        faults.push("noindex: search engines leave it out".to_owned());
    }
    faults
}

pub(super) fn advise(inputs: &Inputs) -> Report {
    let mut report = Report::default();
    let site = inputs.get("site");
    for line in site.lines.iter().filter(|line| line.number(8) > 0).take(15) {
        report.find(format!("{}: {}.", line.text(0), line.text(7)), [line.id.as_str()]);
    }
    let missing = inputs.get("missing");
    for line in missing.lines.iter().filter(|line| line.number(1) > 1).take(5) {
        let text = format!(
            "{} was asked for {} times and is not there: lead it on, or mend the link.",
            line.text(0),
            line.number(1)
        );
        report.find(text, [line.id.as_str()]);
    }
    if site.is_empty() {
        report.note("Name the pages of your site, or its sitemap, at this agent's page: then Lux audits them.");
    }
    if report.is_idle() {
        report.summary = match site.rows {
            0 => "Nothing to do: no page is named, and nothing was asked for in vain.".to_owned(),
            pages => format!(
                "Nothing to do: {} looked at, nothing to mend.",
                count(pages, "page was", "pages were")
            ),
        };
        return report;
    }
    let landing = inputs.get("pages").lines.first().map_or("", |line| line.text(0));
    let body = format!(
        "# [The question your readers ask]\n\n[One sentence that answers it.]\n\n## Why it matters\n\n[Two sentences, one number with its source.]\n\n## What to do\n\n1. [First step]\n2. [Second step]\n\n[Link to the page that most visitors come to{}.]\n",
        if landing.is_empty() { String::new() } else { format!(": {landing}") }
    );
    report.propose(Kind::Text, "Draft of an article", body);
    report.with(json!({}), ["pages"]);
    let ill = site.lines.iter().filter(|line| line.number(8) > 0).count();
    report.summary = format!(
        "{} of {} something to mend; {} asked for and not there.",
        ill,
        count(site.rows, "page has", "pages have"),
        count(missing.rows, "address was", "addresses were")
    );
    report
}
