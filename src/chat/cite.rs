//! An answer of a model whose citations were looked up: what it rests on, and marks where
//! it rests on nothing.

use super::answer::Citation;
use crate::diagnose::pack::Pack;

/// See the module's first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// With what is not proven marked.
    pub text: String,
    /// What is cited, in the order of the answer.
    pub citations: Vec<Citation>,
    /// What could not be found: quotations, and numbers of nothing.
    pub unproven: Vec<String>,
}

impl Checked {
    pub(super) fn of(pack: &Pack, answer: &str, reveal: &dyn Fn(&str) -> String) -> Self {
        let looked_up = pack.check(answer, reveal);
        let citations = looked_up.citations.into_iter().map(|claim| Citation {
            number: claim.id as usize,
            source: claim.evidence.source,
            line: claim.evidence.line,
            text: claim.evidence.text,
        });
        let mut text = answer.to_owned();
        for doubt in &looked_up.unproven {
            text = mark(&text, doubt);
        }
        Self { text, citations: citations.collect(), unproven: looked_up.unproven }
    }
}

/// Marks one doubt wherever it stands.
fn mark(text: &str, doubt: &str) -> String {
    if doubt.starts_with('[') {
        return text.replace(doubt, "[unproven]");
    }
    let mut marked = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(doubt) {
        let mut end = at + doubt.len();
        // Behind the quotation mark.
        let closing = rest[end..].chars().next().filter(|c| matches!(c, '"' | '`' | '”' | '»'));
        end += closing.map_or(0, char::len_utf8);
        marked.push_str(&rest[..end]);
        if closing.is_some() {
            marked.push_str(" (unproven)");
        }
        rest = &rest[end..];
    }
    marked.push_str(rest);
    marked
}

#[cfg(test)]
mod tests {
    use super::Checked;
    use crate::diagnose::pack::Pack;

    fn checked(answer: &str) -> Checked {
        let mut pack = Pack::default();
        let mut hide = |text: &str| text.to_owned();
        let text = "connect() failed (111: Connection refused) to upstream";
        pack.cite("nginx-error", 7, text, &mut hide).unwrap();
        pack.cite("app", 12, "KeyError: 'sku' in checkout", &mut hide).unwrap();
        Checked::of(&pack, answer, &str::to_owned)
    }

    #[test]
    fn what_is_there_is_cited() {
        let answer = "The upstream is away: `connect() failed (111: Connection refused)` [1].";
        let checked = checked(answer);
        assert_eq!((checked.text.as_str(), checked.unproven.len()), (answer, 0));
        assert_eq!((checked.citations[0].number, checked.citations[0].line), (1, 7));
    }

    #[test]
    fn what_is_not_there_is_marked() {
        let checked = checked("It says \"the disk is full on /var\" [1], see [9].");
        assert_eq!(
            checked.text,
            "It says \"the disk is full on /var\" (unproven) [1], see [unproven]."
        );
        assert_eq!(checked.unproven.len(), 2);
    }
}
