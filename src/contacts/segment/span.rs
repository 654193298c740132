//! Spans of time, in whole seconds since 1970.

/// From a second on, until before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub from: i64,
    pub until: i64,
}

impl Span {
    /// Before every contact.
    pub const BEGIN: i64 = 0;
    /// The last second of the year 9999.
    pub const END: i64 = 253_402_300_799;

    pub const fn holds(self, second: i64) -> bool {
        self.from <= second && second < self.until
    }
}

/// A set of moments: spans that are apart and in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Spans {
    pub fn never() -> Self {
        Self(Vec::new())
    }

    pub fn always() -> Self {
        Self(vec![Span { from: Span::BEGIN, until: Span::END }])
    }

    pub fn if_so(so: bool) -> Self {
        if so { Self::always() } else { Self::never() }
    }

    /// One span, cut to the time there is.
    pub fn of(span: Span) -> Self {
        let (from, until) = (span.from.max(Span::BEGIN), span.until.min(Span::END));
        if from < until { Self(vec![Span { from, until }]) } else { Self::never() }
    }

    pub fn iter(&self) -> impl Iterator<Item = Span> {
        self.0.iter().copied()
    }

    pub fn hold(&self, second: i64) -> bool {
        self.0.iter().any(|span| span.holds(second))
    }

    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        for one in &self.0 {
            for two in &other.0 {
                let (from, until) = (one.from.max(two.from), one.until.min(two.until));
                if from < until {
                    both.push(Span { from, until });
                }
            }
        }
        both.sort_unstable();
        Self(both)
    }

    #[must_use]
    pub fn not(&self) -> Self {
        let mut rest = Vec::new();
        let mut from = Span::BEGIN;
        for span in &self.0 {
            if from < span.from {
                rest.push(Span { from, until: span.from });
            }
            from = span.until;
        }
        if from < Span::END {
            rest.push(Span { from, until: Span::END });
        }
        Self(rest)
    }

    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.not().and(&other.not()).not()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Span, Spans};

    fn spans() -> impl Strategy<Value = Spans> {
        prop::collection::vec((0_i64..50, 0_i64..50), 0..4).prop_map(|pairs| {
            pairs
                .into_iter()
                .fold(Spans::never(), |all, (from, until)| all.or(&Spans::of(Span { from, until })))
        })
    }

    proptest! {
        #[test]
        fn sets_of_moments_are_sets(one in spans(), two in spans(), second in 0_i64..60) {
            prop_assert_eq!(one.and(&two).hold(second), one.hold(second) && two.hold(second));
            prop_assert_eq!(one.or(&two).hold(second), one.hold(second) || two.hold(second));
            prop_assert_eq!(one.not().hold(second), !one.hold(second));
            prop_assert_eq!(one.not().not(), one.clone());
            let either = one.or(&two);
            prop_assert!(either.0.windows(2).all(|pair| pair[0].until < pair[1].from));
        }
    }
}
