//! Reading a Python traceback: what was raised first, what last, and where in the
//! application's own code.

/// One exception of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raised<'a> {
    /// With its module: "psycopg2.errors.UndefinedTable".
    pub kind: &'a str,
    /// The line of the text that names it.
    pub line: &'a str,
    /// The deepest frame in the application's own code: "app/pricing.py line 12 in price".
    pub frame: Option<Frame<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub file: &'a str,
    pub line: &'a str,
    pub function: &'a str,
}

impl Raised<'_> {
    /// The type without its module.
    pub(crate) fn name(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or(self.kind)
    }
}

/// The chain in the order in which it is printed: the first was raised first.
pub(crate) fn parse(text: &str) -> Vec<Raised<'_>> {
    let mut chain: Vec<Raised<'_>> = Vec::new();
    let mut inside = false;
    let mut frame = None;
    for line in text.lines() {
        // exception groups draw a margin of `|` and `+`
        let body = line.trim_start();
        let (margin, body) = match body.strip_prefix('|') {
            Some(rest) => (true, rest.strip_prefix(' ').unwrap_or(rest)),
            None => (false, body),
        };
        let trimmed = body.trim_start();
        if trimmed.ends_with("Traceback (most recent call last):") {
            inside = true;
            frame = None;
        } else if let Some(found) = self::frame(trimmed) {
            inside = true;
            if in_app(found.file) {
                frame = Some(found);
            }
        } else if inside
            && (margin || !line.starts_with([' ', '\t']))
            && trimmed.len() == body.len()
            && let Some(kind) = exception_type(body)
        {
            chain.push(Raised { kind, line: body, frame: frame.take() });
            inside = false;
            if chain.len() >= 32 {
                break;
            }
        }
    }
    chain
}

/// How well a line of a record with tracebacks tells what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// A quoted line of the program, or where it stands: it says the same every time.
    Code,
    Message,
    /// Names the exception that was raised.
    Exception,
}

/// What the line at byte `at` of `text` is; `chain` was parsed from that text.
pub(crate) fn rank(text: &str, chain: &[Raised<'_>], at: usize) -> Rank {
    let range = super::matcher::line_of(text, at);
    let line = &text[range.clone()];
    let named = |raised: &Raised<'_>| {
        // slices of `text`, so their place is the distance of the two
        range.contains(&(raised.line.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize))
    };
    if chain.iter().any(named) {
        return Rank::Exception;
    }
    let body = line.trim_start_matches(['|', ' ', '\t']);
    let margin = line.len() - body.len();
    if body.starts_with("File \"") || margin >= 4 { Rank::Code } else { Rank::Message }
}

/// What was raised first: the root. A group is not a cause, its members are.
pub(crate) fn root<'a, 'c>(chain: &'c [Raised<'a>]) -> Option<&'c Raised<'a>> {
    chain.iter().find(|raised| !raised.kind.ends_with("ExceptionGroup")).or(chain.first())
}

/// The frame to blame: that of the root, else the first of the chain that is the application's.
pub(crate) fn blamed<'a>(chain: &[Raised<'a>]) -> Option<Frame<'a>> {
    root(chain)
        .and_then(|raised| raised.frame)
        .or_else(|| chain.iter().find_map(|raised| raised.frame))
}

/// `File "/app/x.py", line 3, in f` (a SyntaxError's has no function).
fn frame(line: &str) -> Option<Frame<'_>> {
    let (file, rest) = line.strip_prefix("File \"")?.split_once('"')?;
    let rest = rest.strip_prefix(", line ")?;
    let (number, function) = match rest.split_once(", in ") {
        Some((number, function)) => (number, function.trim()),
        None => (rest.trim(), ""),
    };
    Some(Frame { file, line: number, function })
}

/// Code of the application, not of Python or a package.
pub(crate) fn in_app(file: &str) -> bool {
    !["site-packages", "dist-packages", "/lib/python", "/lib64/python", "<frozen"]
        .iter()
        .any(|part| file.contains(part))
        && !file.ends_with("/bin/gunicorn")
        && !file.ends_with("/bin/uvicorn")
}

/// `psycopg2.OperationalError: …` → `psycopg2.OperationalError`.
fn exception_type(line: &str) -> Option<&str> {
    let end =
        line.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(line.len());
    let kind = &line[..end];
    let rest = &line[end..];
    let name = kind.rsplit('.').next()?;
    let typed = name.starts_with(|c: char| c.is_uppercase())
        && name.contains(|c: char| c.is_lowercase())
        && (rest.trim().is_empty() || rest.starts_with(':'));
    // "shop.errors.no_price: ..." is a type too if it says so
    let suffixed = ["Error", "Exception", "error", "exception", "timeout"]
        .iter()
        .any(|suffix| name.ends_with(suffix));
    let group = kind.ends_with("ExceptionGroup");
    (group || (typed || suffixed) && (rest.is_empty() || rest.starts_with(':')))
        .then_some(kind)
        .filter(|kind| !kind.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        parse(text).iter().map(|raised| raised.kind).collect()
    }

    #[test]
    fn chains_are_read_in_order_and_values_over_lines_are_not_types() {
        let text = r#"2026-11-20 13:29:53,660 ERROR [app] [24669] Exception on /api/price [GET]
Traceback (most recent call last):
  File "/var/www/app/pricing.py", line 12, in unit_price
    return PRICES[sku]
           ~~~~~~^^^^^
KeyError: 'c'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/flask/app.py", line 917, in full_dispatch_request
    rv = self.dispatch_request()
  File "/var/www/app/pricing.py", line 21, in total
    raise PricingError(sku) from error
pricing.PricingError: no price for sku 'c'
DETAIL:  Key (user_id)=(99) is not present in table "users".
HINT: nothing
"#;
        let chain = parse(text);
        assert_eq!(names(text), ["KeyError", "pricing.PricingError"]);
        let frame = blamed(&chain).unwrap();
        assert_eq!(
            (frame.file, frame.line, frame.function),
            ("/var/www/app/pricing.py", "12", "unit_price")
        );
    }

    #[test]
    fn members_of_groups_are_found() {
        let text = "  + Exception Group Traceback (most recent call last):\n  |   File \"/venv/lib/python3.11/site-packages/a.py\", line 4, in run\n  |     await app()\n  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)\n  +-+---------------- 1 ----------------\n    | Traceback (most recent call last):\n    |   File \"/srv/main.py\", line 9, in rate\n    |     return RATES[code]\n    |            ~~~~~^^^^^^\n    | KeyError: 'GBP'\n    +------------------------------------\n";
        let chain = parse(text);
        assert_eq!(names(text), ["ExceptionGroup", "KeyError"]);
        assert_eq!(root(&chain).unwrap().name(), "KeyError");
        assert_eq!(root(&chain).unwrap().frame.unwrap().function, "rate");
    }

    #[test]
    fn syntax_errors_name_their_file() {
        let text = "Traceback (most recent call last):\n  File \"/venv/lib/python3.11/site-packages/gunicorn/util.py\", line 359, in import_app\n    mod = importlib.import_module(module)\n  File \"/srv/app.py\", line 12\n    def f(:\n          ^\nSyntaxError: invalid syntax\n";
        let chain = parse(text);
        assert_eq!(names(text), ["SyntaxError"]);
        assert_eq!(chain[0].frame.unwrap().file, "/srv/app.py");
    }

    #[test]
    fn ordinary_text_has_no_exceptions() {
        assert!(names("GET /x 200\nNote: KeyError: is a word\n").is_empty());
    }
}
