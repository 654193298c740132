//! Telling effects under their causes.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Confidence, Role, candidate::Candidate, rank::View};

/// Tells what follows from a present cause under that cause.
pub(crate) fn fold(candidates: &mut Vec<Candidate>, view: &View<'_>) {
    let mut under: Vec<Option<usize>> = vec![None; candidates.len()];
    for cause in 0..candidates.len() {
        for effect in 0..candidates.len() {
            let explained = &view.advisor.playbooks[candidates[effect].playbook].id;
            if cause != effect
                && under[effect].is_none()
                && under[cause] != Some(effect)
                && (candidates[cause].confidence > Confidence::Inconclusive
                    || candidates[effect].confidence == Confidence::Inconclusive)
                && view.explained_by(&candidates[cause]).any(|id| id == explained)
                && together(&candidates[cause], candidates[effect].first, candidates[effect].last)
            {
                under[effect] = Some(cause);
            }
        }
    }
    let root = |mut index: usize| {
        for _ in 0..under.len() {
            match under[index] {
                Some(next) => index = next,
                None => break,
            }
        }
        index
    };
    for effect in 0..candidates.len() {
        if under[effect].is_some() {
            let cause = root(effect);
            if cause == effect {
                continue;
            }
            let folded = candidates[effect].clone();
            let title = &view.advisor.playbooks[folded.playbook].title;
            let into = &mut candidates[cause];
            into.effects.push(format!("{title} ({} ×)", folded.count));
            if let Some(quote) = folded.quotes.first() {
                into.quote(quote.source, quote.line, &quote.text);
            }
            for (method, path) in &folded.requests {
                into.request(method, path);
            }
        }
    }
    // effects of the effect playbooks themselves
    for (playbook, found) in view.advisor.playbooks.iter().zip(&view.matches) {
        if playbook.role != Role::Effect || !found.is_some() {
            continue;
        }
        let cause = (0..candidates.len()).find(|&index| {
            view.explained_by(&candidates[index]).any(|id| *id == playbook.id)
                && candidates[index].confidence > Confidence::Inconclusive
                && together(&candidates[index], found.first, found.last)
        });
        if let Some(cause) = cause {
            let into = &mut candidates[root(cause)];
            into.effects.push(format!("{} ({} ×)", playbook.title, found.count));
            if let Some(hit) = found.hits().next() {
                into.quote(hit.source, hit.line, &hit.text);
            }
            for hit in found.hits().take(20) {
                if let Some((method, path)) = &hit.request {
                    into.request(method, path);
                }
            }
        }
    }
    let mut index = 0;
    candidates.retain(|_| {
        index += 1;
        under[index - 1].is_none()
    });
}

/// Whether an effect falls into the time of a cause (or times are unknown).
fn together(cause: &Candidate, first: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> bool {
    match (cause.first, cause.last, first, last) {
        (Some(from), Some(until), Some(first), Some(last)) => {
            last >= from - TimeDelta::seconds(60) && first <= until + TimeDelta::seconds(600)
        }
        _ => true,
    }
}
