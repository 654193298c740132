//! Tables for spreadsheets: CSV as RFC 4180 has it, whose cells are texts and nothing else.

/// Whether a spreadsheet would take the text for a formula, which would run with the rights of
/// whoever opens the file. Some look through quotation marks and spaces.
fn is_formula(text: &str) -> bool {
    let bare = text.trim_start_matches(|c: char| {
        c.is_whitespace() || matches!(c, '"' | '\u{201c}' | '\u{feff}')
    });
    bare.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n'])
}

/// Adds a row; what looks like a formula begins with an apostrophe.
pub(super) fn row<C: AsRef<str>>(out: &mut Vec<u8>, cells: impl IntoIterator<Item = C>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let cell = cell.as_ref();
        let formula = is_formula(cell);
        if !formula && !cell.contains([',', ';', '"', '\n', '\r']) {
            out.extend_from_slice(cell.as_bytes());
            continue;
        }
        out.push(b'"');
        if formula {
            out.push(b'\'');
        }
        out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"\r\n");
}

/// The text without the apostrophe that [`row`] put before it, so that what was exported can be
/// brought back.
pub(super) fn unguarded(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{row, unguarded};

    fn written(cells: &[&str]) -> String {
        let mut out = Vec::new();
        row(&mut out, cells);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_are_texts() {
        assert_eq!(written(&["a b", "a,\"b\"\n", ""]), "a b,\"a,\"\"b\"\"\n\",\r\n");
        for formula in
            ["=1+1", "+4420", "-1", "@SUM(A1)", " =x", "\t=x", "\r1", "\"=x\"", "\u{feff}=x", "＝x"]
        {
            assert!(written(&[formula]).starts_with("\"'"), "{formula:?}");
            assert_eq!(unguarded(&format!("'{formula}")), formula);
        }
        assert_eq!(unguarded("'tis"), "'tis");
        assert_eq!(unguarded("=1"), "=1");
    }
}
