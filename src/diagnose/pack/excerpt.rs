//! A record in little room.

use std::fmt::Write as _;

use super::super::traceback::in_app;
use super::collect::GAP;

/// A record's text in about `most` bytes: of a traceback the messages and the
/// application's own frames, of all else the beginning and the end. Lines that hold one
/// of `keep` stay.
pub(super) fn outline(text: &str, keep: &[&str], most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.split('\n').collect();
    if lines.len() == 1 {
        return clip(text, keep, most);
    }
    let ranks: Vec<u8> = rank(&lines, keep);
    let mut chosen = vec![false; lines.len()];
    let mut bytes = 0;
    for wanted in 0..=3 {
        // libraries' frames only where little else is to be told
        let most = if wanted == 3 { most / 2 } else { most };
        // of many alike the last are told: a traceback's innermost frames
        let order: Vec<usize> = match wanted {
            0 => (0..lines.len()).collect(),
            // what was raised in the end before how it came to that
            1 => {
                let last = ranks.iter().rposition(|rank| *rank == 1);
                last.into_iter().chain((0..lines.len()).filter(|at| Some(*at) != last)).collect()
            }
            _ => (0..lines.len()).rev().collect(),
        };
        for index in order {
            if ranks[index] != wanted {
                continue;
            }
            let cost = lines[index].len().min(LINE) + 1;
            if bytes + cost > most {
                continue;
            }
            chosen[index] = true;
            bytes += cost;
        }
    }
    let mut out = String::with_capacity(most + 64);
    let mut left_out = 0;
    for ((line, chosen), rank) in lines.iter().zip(chosen).zip(&ranks) {
        if !chosen {
            // of blank lines and marks nobody misses anything
            left_out += usize::from(*rank < 4);
            continue;
        }
        if left_out > 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{GAP} ({left_out} lines)");
            left_out = 0;
        }
        out.push_str(&clip(line, keep, LINE));
        out.push('\n');
    }
    if left_out > 0 {
        let _ = writeln!(out, "{GAP} ({left_out} lines)");
    }
    out.truncate(out.trim_end().len());
    out
}

/// Bytes of one line of a record of several.
const LINE: usize = 400;

/// 0 must stay, 1 says what happened, 2 says where, 3 the rest, 4 nothing.
fn rank(lines: &[&str], keep: &[&str]) -> Vec<u8> {
    let mut ranks = Vec::with_capacity(lines.len());
    let mut own = false;
    for (index, line) in lines.iter().enumerate() {
        // exception groups draw a margin of `|` and `+`
        let bare = line.trim_start_matches(['|', '+', ' ', '\t']);
        let body = match line.trim_start().strip_prefix('|') {
            Some(body) => body.strip_prefix(' ').unwrap_or(body),
            None if line.trim_start().starts_with('+') => bare,
            None => line,
        };
        let frame = bare.starts_with("File \"") || bare.starts_with("at ");
        let rank = if index == 0
            || !bare.is_empty()
                && keep.iter().any(|keep| line.contains(keep) || keep.contains(bare))
        {
            0
        } else if bare.is_empty() && !line.contains('+') || bare.starts_with(['^', '~']) {
            4
        } else if frame {
            own = bare.starts_with("File \"") && in_app(bare.split('"').nth(1).unwrap_or_default())
                || bare.starts_with("at ")
                    && !["node_modules", "node:", "java.", "javax.", "jdk.", "org.springframework"]
                        .iter()
                        .any(|library| bare.contains(library));
            if own { 2 } else { 3 }
        } else if body.starts_with([' ', '\t']) {
            // the code under a frame
            if own { 2 } else { 3 }
        } else {
            own = false;
            1
        };
        ranks.push(rank);
    }
    ranks
}

/// The beginning of a line, and the part that holds one of `keep`.
pub(super) fn clip(line: &str, keep: &[&str], most: usize) -> String {
    if line.len() <= most {
        return line.to_owned();
    }
    let kept = keep.iter().find_map(|keep| line.find(keep).map(|at| (at, at + keep.len())));
    let head = &line[..line.floor_char_boundary(most)];
    match kept {
        // of a quotation that begins early its beginning is enough
        Some((at, end)) if end > head.len() && at > most / 2 => {
            let part = end.min(at + most);
            let from = line.floor_char_boundary(part.saturating_sub(most * 2 / 3));
            let head = &line[..line.floor_char_boundary((most / 3).min(from))];
            format!("{head}{GAP}{}", &line[from..line.ceil_char_boundary(part)])
        }
        _ => format!("{head}{GAP}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceback_keeps_what_happened_and_where() {
        let frames = (0..40)
            .map(|n| format!("  File \"/srv/venv/lib/python3.11/site-packages/x/f{n}.py\", line {n}, in f\n    call()\n"))
            .collect::<Vec<_>>()
            .concat();
        let text = format!(
            "2026-11-20 13:29:53 ERROR [app] Exception on /api/price [GET]\nTraceback (most recent call last):\n{frames}  File \"/srv/app/pricing.py\", line 41, in price\n    return PRICES[sku]\nKeyError: 'c'\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n{frames}pricing.PricingError: no price for sku 'c'"
        );
        let short = outline(&text, &[], 900);
        assert!(short.len() < 1100, "{short}");
        for part in [
            "Exception on /api/price [GET]",
            "/srv/app/pricing.py",
            "return PRICES[sku]",
            "KeyError: 'c'",
            "direct cause",
            "pricing.PricingError: no price for sku 'c'",
        ] {
            assert!(short.contains(part), "{part} is not in\n{short}");
        }
        let short = outline(&text, &["f17.py"], 900);
        assert!(short.contains("f17.py"));
    }

    #[test]
    fn a_long_line_keeps_what_was_quoted() {
        let line = format!("{}the part that matters{}", "x".repeat(500), "y".repeat(500));
        let short = outline(&line, &["the part that matters"], 120);
        assert!(short.contains("the part that matters") && short.len() < 150, "{short}");
        assert!(outline(&line, &[], 120).len() < 130);
    }
}
