//! Finding customers by words: of name, address and company. Whose words changed is noted by the
//! database in the transaction that changes them; the index follows, and who is not in it yet is
//! looked at one by one, so that a search is true at once.

mod store;

use std::{collections::BTreeSet, time::Duration};

use super::{Customer, Filter, store::of_ids};
use crate::{
    app::App,
    auth::OrganizationId,
    db::{Db, Result},
};

/// Customers that are indexed in one transaction.
const STEP: i64 = 500;
/// How long the indexer rests when nothing is left.
const REST: Duration = Duration::from_secs(2);
/// Candidates of a search that are looked at.
const LOOKS: i64 = 2000;
/// Customers not indexed yet that are looked at one by one.
const UNINDEXED: i64 = 2000;
/// Words of a search, and bytes of it that are read.
const MAX_WORDS: usize = 8;
const MAX_TEXT: usize = 400;
/// Customers that are read at once.
const CHUNK: usize = 250;

/// The words of a customer, in lower case; an address is one, besides its parts.
pub(super) fn words(name: &str, email: &str, company: &str) -> BTreeSet<String> {
    let email = email.trim().to_lowercase();
    let mut words: BTreeSet<String> =
        [name, company, &email].iter().flat_map(|text| split(text)).collect();
    words.insert(email);
    words.remove("");
    words.into_iter().map(|word| word.chars().take(100).collect()).take(40).collect()
}

fn split(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

/// The words that are looked for; an address stays whole.
fn asked(text: &str) -> Vec<String> {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let text = &text[..end.unwrap_or(0)];
    let parts = text.split_whitespace().flat_map(|part| {
        if part.contains('@') { vec![part.to_lowercase()] } else { split(part).collect() }
    });
    let parts = parts.map(|word| word.chars().take(100).collect());
    parts.take(MAX_WORDS).collect()
}

/// What a search found.
pub(super) struct Found {
    /// Newest first.
    pub(super) customers: Vec<Customer>,
    /// The next page is below this id; `None` at the end.
    pub(super) below: Option<i64>,
    /// Whether there may be more than was looked at.
    pub(super) more: bool,
}

/// Customers in whose words each of the text's words begins one, newest first.
///
/// Those with a whole word of it are walked from the newest on, however many they are; of those
/// in whose words it only begins one, 2000 are looked at.
pub(super) async fn search(
    db: &Db,
    organization: OrganizationId,
    text: &str,
    filter: &Filter,
    below: Option<i64>,
    limit: i64,
) -> Result<Found> {
    let asked = asked(text);
    let nothing = Found { customers: Vec::new(), below: None, more: false };
    // The longest is the one that fewest have.
    let Some(longest) = asked.iter().max_by_key(|word| word.len()) else { return Ok(nothing) };
    let (below, limit) = (below.unwrap_or(i64::MAX), usize::try_from(limit).unwrap_or(1));
    // First: who is indexed from here on is found by their words.
    let fresh = store::unindexed(db, below, UNINDEXED).await?;
    let whole = store::with_word(db, organization, longest, below, LOOKS).await?;
    let begun = store::with_beginning(db, organization, longest, below, LOOKS).await?;
    let is_full = |ids: &[i64], most: i64| i64::try_from(ids.len()).is_ok_and(|it| it >= most);
    // Below the last of these others may have the word, too.
    let floor = is_full(&whole, LOOKS).then(|| whole.last().copied()).flatten();
    let more = is_full(&begun, LOOKS) || is_full(&fresh, UNINDEXED);
    let ids: BTreeSet<i64> = whole.into_iter().chain(begun).chain(fresh).collect();
    let above = |id: &i64| floor.is_none_or(|floor| *id >= floor);
    let ids: Vec<i64> = ids.into_iter().rev().filter(above).collect();
    let mut customers = Vec::new();
    for chunk in ids.chunks(CHUNK) {
        for customer in of_ids(db, organization, filter, chunk).await? {
            let email = customer.email.as_deref().unwrap_or_default();
            let words = words(&customer.name, email, &customer.company);
            let has = |asked: &String| words.iter().any(|it| it.starts_with(asked.as_str()));
            if asked.iter().all(has) {
                customers.push(customer);
            }
        }
        if customers.len() > limit {
            customers.truncate(limit);
            let below = customers.last().map(|last| last.id);
            return Ok(Found { customers, below, more });
        }
    }
    Ok(Found { customers, below: floor, more })
}

/// Begins to index what is not there yet.
pub(super) fn start(app: &App) {
    let (db, shutdown) = (app.db.clone(), app.shutdown.clone());
    app.tasks.spawn(async move {
        loop {
            match store::index(&db, STEP).await {
                // One transaction after another, but others in between.
                Ok(done) if done > 0 => tokio::task::yield_now().await,
                Ok(_) => {
                    let rest = tokio::time::sleep(REST);
                    if shutdown.run_until_cancelled(rest).await.is_none() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "customers could not be indexed; trying again");
                    let rest = tokio::time::sleep(REST);
                    if shutdown.run_until_cancelled(rest).await.is_none() {
                        return;
                    }
                }
            }
            if shutdown.is_cancelled() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{asked, words};

    #[test]
    fn words_are_found_by_their_beginnings() {
        let of = words("Ada Löwe-King", "Ada.L@Example.com", "Engines & Söhne");
        for word in ["ada", "löwe", "king", "ada.l@example.com", "l", "example", "com", "söhne"] {
            assert!(of.contains(word), "{word}: {of:?}");
        }
        assert_eq!(asked("  ADA  löwe-k "), ["ada", "löwe", "k"]);
        assert_eq!(asked("Ada.L@example"), ["ada.l@example"]);
        assert_eq!(asked(" -- ").len(), 0);
        assert_eq!(asked(&"ü".repeat(1000)), ["ü".repeat(100)]);
        assert!(words("", "", "").is_empty());
    }
}
