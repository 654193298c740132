//! What differs between two texts, by line.

use serde::Serialize;

/// Lines of each text that are compared; what is behind counts as replaced.
const MOST: usize = 1500;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LineChange)]
pub enum Kind {
    Same,
    Added,
    Removed,
}

/// A line of either text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = DiffLine)]
pub struct Line {
    pub kind: Kind,
    pub text: String,
}

/// The lines of both texts in order, by their longest common part.
pub fn lines(old: &str, new: &str) -> Vec<Line> {
    let old_lines: Vec<&str> = old.lines().take(MOST).collect();
    let new_lines: Vec<&str> = new.lines().take(MOST).collect();
    let (rows, columns) = (old_lines.len(), new_lines.len());
    // Lengths of the common part of what is behind each pair.
    let mut common = vec![0_u16; (rows + 1) * (columns + 1)];
    let at = |row: usize, column: usize| row * (columns + 1) + column;
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[at(row, column)] = if old_lines[row] == new_lines[column] {
                common[at(row + 1, column + 1)] + 1
            } else {
                common[at(row + 1, column)].max(common[at(row, column + 1)])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut out = Vec::new();
    let mut push = |kind, text: &str| out.push(Line { kind, text: text.to_owned() });
    while row < rows || column < columns {
        if row < rows && column < columns && old_lines[row] == new_lines[column] {
            push(Kind::Same, old_lines[row]);
            (row, column) = (row + 1, column + 1);
        } else if column == columns
            || (row < rows && common[at(row + 1, column)] >= common[at(row, column + 1)])
        {
            push(Kind::Removed, old_lines[row]);
            row += 1;
        } else {
            push(Kind::Added, new_lines[column]);
            column += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Kind, lines};

    #[test]
    fn both_texts_can_be_read_back() {
        for (old, new) in
            [("a\nb\nc", "a\nx\nc\nd"), ("", "a"), ("a", ""), ("a\na", "a"), ("x", "x")]
        {
            let found = lines(old, new);
            let of = |not: Kind| {
                let kept = found.iter().filter(|line| line.kind != not);
                kept.map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
            };
            assert_eq!((of(Kind::Added), of(Kind::Removed)), (old.to_owned(), new.to_owned()));
        }
        assert_eq!(lines("a\nb", "a\nc").iter().filter(|it| it.kind == Kind::Same).count(), 1);
    }
}
