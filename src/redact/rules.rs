//! The rules, as a table. Each is linear in the text's length, and runs only where
//! one of its marks occurs.

/// What a rule finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Never shown again, to nobody.
    Secret,
    /// A person's data: may be put back on the operator's own screen.
    Email,
    Card,
    Phone,
    Iban,
}

impl Kind {
    /// As placeholders name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Email => "email",
            Self::Card => "card",
            Self::Phone => "phone",
            Self::Iban => "iban",
        }
    }
}

/// One rule. What is struck out is the group named `secret`, else the whole match.
pub(super) struct Rule {
    pub kind: Kind,
    /// Without one of these (in any case) in the text the pattern cannot match.
    pub marks: &'static [&'static str],
    pub pattern: &'static str,
    /// A further check of what would be struck out.
    pub check: fn(&str) -> bool,
}

fn always(_: &str) -> bool {
    true
}

/// Names of things whose value is a secret.
macro_rules! names {
    () => {
        r"(?:[A-Za-z0-9]+[_.-])*(?:(?:pg)?password|passwd|passphrase|passwort|pass|pwd|secret|secretkey|token|api[_.-]?key|apikey|access[_.-]?key|private[_.-]?key|secret[_.-]?key|encryption[_.-]?key|signing[_.-]?key|auth[_.-]?key|session[_.-]?key|session[_.-]?id|sessionid|session|jsessionid|phpsessid|sid|csrf|csrftoken|xsrf|csrfmiddlewaretoken|credential|credentials|signature|x-amz-signature|otp|pin[_.-]?code|cvv|cvc|client[_.-]?secret|refresh[_.-]?token|access[_.-]?token|id[_.-]?token|accesstoken|refreshtoken|clientsecret|authtoken|bearer[_.-]?token|webhook[_.-]?secret|database[_.-]?url|connection[_.-]?string|aws[_.-]?secret[_.-]?access[_.-]?key)"
    };
}

const NAMES: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "api_key",
    "api-key",
    "api.key",
    "apikey",
    "_key",
    "-key",
    ".key",
    "accesskey",
    "privatekey",
    "authkey",
    "session",
    "sid",
    "csrf",
    "xsrf",
    "credential",
    "signature",
    "otp",
    "pin_code",
    "pincode",
    "pin-code",
    "cvv",
    "cvc",
    "database_url",
    "connection_string",
    "databaseurl",
    "connectionstring",
];

/// A value that says "no value", a placeholder, a type or a reference is no secret.
fn is_value(text: &str) -> bool {
    let bare = text.trim_matches(['"', '\'', '\\', ' ', ',', ';', ')', '}', ']']);
    if bare.len() < 3 || bare.starts_with(['<', '$', '%', '*', '{', '[', '(']) {
        return false;
    }
    let lower = bare.to_ascii_lowercase();
    !matches!(
        lower.as_str(),
        "none"
            | "null"
            | "nil"
            | "true"
            | "false"
            | "undefined"
            | "missing"
            | "required"
            | "invalid"
            | "expired"
            | "str"
            | "string"
            | "int"
            | "bool"
            | "bytes"
            | "not"
            | "set"
            | "unset"
            | "empty"
            | "redacted"
            | "hidden"
            | "the"
            | "is"
            | "for"
            | "was"
            | "and"
            | "must"
            | "incorrect"
            | "wrong"
            | "authentication"
            | "yes"
            | "no"
            | "ok"
            | "failed"
            | "error"
            | "..."
    ) && !lower.starts_with("***")
        && !lower.starts_with("xxx")
}

/// In prose ("password: …") the next word may be prose as well.
fn is_random_or_odd(text: &str) -> bool {
    is_value(text)
        && (text.bytes().any(|b| b.is_ascii_digit())
            || text.bytes().any(|b| b.is_ascii_punctuation() && !matches!(b, b'.' | b',' | b':'))
            || text.bytes().skip(1).any(|b| b.is_ascii_uppercase()))
}

/// Fourteen or more of the digits of a payment card, whose check digit is right.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    if !(13..=19).contains(&digits.len()) || digits.iter().all(|digit| *digit == digits[0]) {
        return false;
    }
    // Grouped as cards are printed, or not at all.
    let known = matches!(
        (digits[0], digits[1]),
        (4, _) | (5, 1..=5) | (3, 4 | 7 | 5 | 0 | 6 | 8) | (6, 0 | 2 | 4 | 5) | (2, 2..=7)
    );
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match (i % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    known && sum.is_multiple_of(10)
}

/// The remainder that ISO 13616 asks for.
fn is_iban(text: &str) -> bool {
    let plain: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    if !(15..=34).contains(&plain.len()) {
        return false;
    }
    let rotated = plain[4..].iter().chain(&plain[..4]);
    let remainder = rotated.fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter.to_ascii_uppercase() - b'A' + 10)) % 97,
    });
    remainder == 1
}

/// Enough different characters to be made by a machine.
fn is_dense(text: &str) -> bool {
    let mut seen = [false; 256];
    for byte in text.bytes() {
        seen[usize::from(byte)] = true;
    }
    let distinct = seen.iter().filter(|seen| **seen).count();
    let mixed = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_uppercase())
        && text.bytes().any(|b| b.is_ascii_lowercase());
    mixed && distinct >= 18 && !text.contains("//")
}

pub(super) const RULES: &[Rule] = &[
    // Private keys, whole; one whose end was cut off, to the end.
    Rule {
        kind: Kind::Secret,
        marks: &["-----begin"],
        pattern: r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<secret>.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
        check: always,
    },
    // scheme://user:password@host
    Rule {
        kind: Kind::Secret,
        marks: &["://"],
        pattern: r#"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@"'<>]*:(?P<secret>[^\s"'<>/]+|[^\s"'<>@]+)@"#,
        check: is_value,
    },
    // The public part of an old DSN names an account, and its neighbour is secret.
    Rule {
        kind: Kind::Secret,
        marks: &["://"],
        pattern: r"[a-z]{3,8}://(?P<secret>[0-9a-f]{32})(?::[^\s@/]{1,100})?@",
        check: always,
    },
    // A secret path: whoever knows the address may post.
    Rule {
        kind: Kind::Secret,
        marks: &["hooks."],
        pattern: r"hooks\.(?:slack|zapier)\.com/(?P<secret>[A-Za-z0-9_/-]{8,})",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["discord"],
        pattern: r"discord(?:app)?\.com/api/webhooks/(?P<secret>[A-Za-z0-9_/-]{20,})",
        check: always,
    },
    // Headers, as curl, Python dictionaries, JSON, nginx and logs write them.
    Rule {
        kind: Kind::Secret,
        marks: &["authorization"],
        pattern: r#"(?i)(?:proxy-)?authorization[\\"']{0,4}\s{0,3}[:=,]\s{0,3}\[?(?:b?[\\"']{1,4})?(?:(?:bearer|basic|digest|token|apikey|negotiate)\s{1,3})?(?P<secret>[^\s\\"',;\]}]{4,})"#,
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["bearer", "basic"],
        pattern: r"\b(?:[Bb]earer|BEARER|[Bb]asic|BASIC)\s{1,3}(?P<secret>[A-Za-z0-9._~+/-]{8,}=*)",
        check: is_random_or_odd,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["cookie"],
        pattern: r#"(?i)\b(?:set-)?cookie[\\"']{0,4}\s{0,3}[:=,]\s{0,3}(?:b?[\\"']{1,4})?(?P<secret>[A-Za-z0-9_.%-]{1,100}=[^\r\n"'\\]+)"#,
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["x-"],
        pattern: r#"(?i)\bx-[a-z0-9-]{0,40}(?:key|token|secret|signature|auth)[\\"']{0,4}\s{0,3}[:=,]\s{0,3}(?:b?[\\"']{1,4})?(?P<secret>[^\s\\"',;\]}]{4,})"#,
        check: is_value,
    },
    // key=value, "key": "value", 'key': 'value', KEY="…": a quoted value to its quote.
    Rule {
        kind: Kind::Secret,
        marks: NAMES,
        pattern: concat!(
            r"(?i)(?:^|[^A-Za-z0-9])",
            names!(),
            r#"(?:\\{0,2}["'])?\s{0,3}(?:=>|:=|[:=])\s{0,3}[bruf]?\\{0,2}"(?P<secret>[^"\\\r\n]{3,})"#
        ),
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: NAMES,
        pattern: concat!(
            r"(?i)(?:^|[^A-Za-z0-9])",
            names!(),
            r#"(?:\\{0,2}["'])?\s{0,3}(?:=>|:=|[:=])\s{0,3}[bruf]?\\{0,2}'(?P<secret>[^'\\\r\n]{3,})"#
        ),
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: NAMES,
        pattern: concat!(
            r"(?i)(?:^|[^A-Za-z0-9])",
            names!(),
            r#"(?:=|:=|%3D)(?P<secret>[^\s"'&<>,;\\]{3,})"#
        ),
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: NAMES,
        pattern: concat!(
            r"(?i)(?:^|[^A-Za-z0-9])",
            names!(),
            r#":\s{0,3}(?P<secret>[^\s"'&<>,;\\(){}\[\]]{4,})"#
        ),
        check: is_random_or_odd,
    },
    Rule {
        kind: Kind::Secret,
        marks: &[
            "password is ",
            "password was ",
            "token is ",
            "secret is ",
            "key is ",
            "password to ",
        ],
        pattern: r#"(?i)\b(?:password|token|secret|api key) (?:is|was|to) [\\"'`]{0,2}(?P<secret>[^\s"'`,;]{6,})"#,
        check: is_random_or_odd,
    },
    // Sign-in codes in request lines.
    Rule {
        kind: Kind::Secret,
        marks: &["code=", "state=", "key=", "sig=", "auth="],
        pattern: r"[?&](?:code|state|key|sig|auth|nonce|ticket)=(?P<secret>[A-Za-z0-9._~%+/-]{12,})",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["--password", "--token", "--secret", "--api-key", "sshpass", "-u "],
        pattern: r#"(?:--(?:password|token|secret|api-key)|\bsshpass -p)[ =]["']?(?P<secret>[^\s"']{3,})"#,
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["curl", "wget"],
        pattern: r#"\bcurl\b[^\r\n]{0,300}? (?:-u|--user)[ =]["']?[^\s:"']{1,100}:(?P<secret>[^\s"']+)"#,
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["secret_key", "secretkey"],
        pattern: r#"(?i)\bSECRET_?KEY\b[\\"']{0,2}\s{0,3}[:=]\s{0,3}[\\"']{0,2}(?P<secret>[^\s"'\\]{8,})"#,
        check: is_value,
    },
    // Variables of an environment.
    Rule {
        kind: Kind::Secret,
        marks: &["_key"],
        pattern: r#"\b[A-Z][A-Z0-9_]{2,60}_KEY\s{0,3}[:=]\s{0,3}["']?(?P<secret>[^\s"'\\,;]{16,})"#,
        check: is_random_or_odd,
    },
    Rule { kind: Kind::Secret, marks: &["key-"], pattern: r"\bkey-[0-9a-f]{32}\b", check: always },
    // Keys that show by their first letters whose they are.
    Rule {
        kind: Kind::Secret,
        marks: &["eyj"],
        pattern: r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["sk-", "sk_", "rk_", "pk_live_", "whsec_"],
        pattern: r"\b(?:sk-(?:proj-|ant-|svcacct-|or-)?[A-Za-z0-9_-]{16,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})",
        check: |text| text.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase()),
    },
    // As providers quote them in their refusals: beginning and end with stars between.
    Rule {
        kind: Kind::Secret,
        marks: &["sk-"],
        pattern: r"\bsk-[A-Za-z0-9_-]{0,60}\*{3,100}[A-Za-z0-9_-]{0,20}",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &[
            "ghp_",
            "gho_",
            "ghs_",
            "ghu_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "xoxb-",
            "xoxa-",
            "xoxp-",
            "xoxr-",
            "xoxs-",
            "xapp-",
            "npm_",
            "pypi-",
            "dop_v1_",
            "hf_",
            "lux_",
            "shpat_",
            "shpss_",
            "sg.",
            "ya29.",
            "aiza",
            "dckr_pat_",
            "sntrys_",
            "atatt3",
            "lin_api_",
        ],
        pattern: r"\b(?:gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_-]{16,100}|xox[abprs]-[A-Za-z0-9-]{10,250}|xapp-[A-Za-z0-9-]{10,250}|npm_[A-Za-z0-9]{30,60}|pypi-[A-Za-z0-9_-]{30,300}|dop_v1_[a-f0-9]{40,80}|hf_[A-Za-z0-9]{25,60}|lux_[A-Za-z0-9_-]{30,100}|shp(?:at|ss)_[A-Za-z0-9]{20,60}|SG\.[A-Za-z0-9_-]{15,40}\.[A-Za-z0-9_-]{20,80}|ya29\.[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{30,50}|dckr_pat_[A-Za-z0-9_-]{20,60}|sntrys_[A-Za-z0-9+/=_-]{20,}|ATATT3[A-Za-z0-9_=-]{20,}|lin_api_[A-Za-z0-9]{20,60})",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["akia", "asia", "aroa"],
        pattern: r"\b(?:AKIA|ASIA|AROA)[A-Z0-9]{16}\b",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["identified by", "with password", "password '"],
        pattern: r#"(?i)\b(?:identified by|(?:with )?(?:encrypted )?password) ["'](?P<secret>[^"'\r\n]{3,})"#,
        check: is_value,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["accountkey=", "sharedaccess"],
        pattern: r"(?:AccountKey|SharedAccessKey|SharedAccessSignature)=(?P<secret>[^\s;]{10,})",
        check: always,
    },
    Rule {
        kind: Kind::Secret,
        marks: &["aws"],
        pattern: r#"(?i)\baws[A-Za-z0-9_.-]{0,30}[\\"']{0,2}\s{0,3}[:=]\s{0,3}[\\"']{0,2}(?P<secret>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|$)"#,
        check: is_dense,
    },
];

/// Data of persons: struck out only where text leaves the house.
pub(super) const PERSONAL: &[Rule] = &[
    Rule {
        kind: Kind::Email,
        marks: &["@"],
        pattern: r"\b[A-Za-z0-9][A-Za-z0-9._%+-]{0,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}\b",
        check: |text| {
            // systemd's "postgresql@15-main.service" is nobody's
            const UNITS: &[&str] = &[
                "service", "socket", "timer", "mount", "target", "slice", "scope", "path", "swap",
                "device",
            ];
            text.rsplit('.').next().is_some_and(|top| {
                top.len() >= 2
                    && top.bytes().all(|b| b.is_ascii_alphabetic())
                    && !UNITS.contains(&top)
            })
        },
    },
    Rule {
        kind: Kind::Iban,
        marks: &[],
        pattern: r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        check: is_iban,
    },
    Rule {
        kind: Kind::Phone,
        marks: &["+"],
        pattern: r"\+[1-9][0-9](?:[ ()./-]{0,2}[0-9]){7,13}\b",
        check: always,
    },
];

/// Payment cards are struck out everywhere.
pub(super) const CARDS: Rule = Rule {
    kind: Kind::Card,
    marks: &[],
    pattern: r"\b[0-9]{4}[ -]?[0-9]{4,6}[ -]?[0-9]{4,5}(?:[ -]?[0-9]{1,4})?(?:[ -]?[0-9]{1,3})?\b",
    check: is_card,
};
