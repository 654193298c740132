//! A long row of numbers in little room.

/// Where a row of numbers rises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The means of both parts.
    pub before: f64,
    pub after: f64,
    /// How many numbers are after it.
    pub count: u64,
}

impl Step {
    fn factor(&self) -> f64 {
        self.after / self.before.max(0.001)
    }
}

/// Averages over ever longer stretches, in the order of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    /// (how many, their sum)
    chunks: Vec<(u64, f64)>,
    width: u64,
}

impl Series {
    const CHUNKS: usize = 32;

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.width = self.width.max(1);
        match self.chunks.last_mut() {
            Some(last) if last.0 < self.width => {
                last.0 += 1;
                last.1 += value;
            }
            _ => self.chunks.push((1, value)),
        }
        self.compress();
    }

    fn compress(&mut self) {
        while self.chunks.len() > Self::CHUNKS {
            self.width *= 2;
            self.chunks = self
                .chunks
                .chunks(2)
                .map(|pair| pair.iter().fold((0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1)))
                .collect();
        }
    }

    pub(crate) fn merge(&mut self, later: Self) {
        self.width = self.width.max(later.width);
        self.chunks.extend(later.chunks);
        self.compress();
    }

    /// Mean of the calm first part and of the rest, where the cut makes them differ most.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    pub(crate) fn step(&self) -> Option<Step> {
        let mean = |part: &[(u64, f64)]| {
            let (count, sum) = part.iter().fold((0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            (count >= 3).then(|| (sum / count as f64, count))
        };
        (1..self.chunks.len())
            .filter_map(|cut| {
                let (before, _) = mean(&self.chunks[..cut])?;
                let (after, count) = mean(&self.chunks[cut..])?;
                Some(Step { before, after, count })
            })
            .max_by(|a, b| a.factor().total_cmp(&b.factor()))
    }
}
