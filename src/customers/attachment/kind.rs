//! What a file is, by its bytes. What somebody claims is believed only if they agree.

/// The types of files that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    Webp,
    Gif,
    Pdf,
    Text,
    Csv,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Png, Self::Jpeg, Self::Webp, Self::Gif, Self::Pdf, Self::Text, Self::Csv];

    /// Its media type.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Pdf => "application/pdf",
            Self::Text => "text/plain",
            Self::Csv => "text/csv",
        }
    }

    /// The type that a `Content-Type` claims, if it is one that is taken.
    pub(super) fn claimed(header: &str) -> Option<Self> {
        let name = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the bytes are of this type.
    pub(super) fn fits(self, bytes: &[u8]) -> bool {
        match self {
            Self::Text | Self::Csv => is_text(bytes) && begins(bytes).is_none(),
            kind => begins(bytes) == Some(kind),
        }
    }
}

/// The type that the first bytes tell; texts begin with anything.
fn begins(bytes: &[u8]) -> Option<Kind> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Kind::Png),
        [0xff, 0xd8, 0xff, ..] => Some(Kind::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Kind::Webp),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Kind::Gif),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(Kind::Pdf),
        _ => None,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}');
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(odd))
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn bytes_decide() {
        let png = b"\x89PNG\r\n\x1a\n....";
        for (claim, bytes, fits) in [
            ("image/png", &png[..], true),
            ("image/jpeg", png, false),
            ("text/plain; charset=utf-8", png, false),
            ("IMAGE/GIF", b"GIF89a..", true),
            ("image/gif", b"GIF80a..", false),
            ("image/webp", b"RIFF\x01\x02\x03\x04WEBPVP8 ", true),
            ("image/webp", b"RIFF\x01\x02\x03\x04WAVE", false),
            ("application/pdf", b"%PDF-1.7\n", true),
            // What begins with something else first is two files in one.
            ("application/pdf", b"<script>%PDF-1.7\n", false),
            ("text/csv", "Größe;1\r\n".as_bytes(), true),
            ("text/csv", b"a\0b", false),
            ("text/plain", b"\xff\xfeh\0", false),
            ("text/plain", b"%PDF-1.7", false),
            ("image/png", b"", false),
        ] {
            assert_eq!(Kind::claimed(claim).unwrap().fits(bytes), fits, "{claim}");
        }
        for claim in ["text/html", "image/svg+xml", "application/x-sh", "", "image/png2"] {
            assert_eq!(Kind::claimed(claim), None, "{claim}");
        }
    }
}
