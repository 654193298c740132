use std::fmt::Write;

use super::{Kind, Messages, reports};

/// As Postfix writes it.
fn notification(status: &str, diagnostic: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.com\r\nTo: shop@example.com\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"B/1.mx\"\r\n\r\n\
         --B/1.mx\r\nContent-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         I'm sorry\r\n\r\n--B/1.mx\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.com\r\nArrival-Date: Sat, 21 Nov 2026 10:00:00 +0000 (UTC)\r\n\r\n\
         Final-Recipient: rfc822; eve@example.org\r\nAction: failed\r\nStatus: {status}\r\n\
         Remote-MTA: dns; mail.example.org\r\nDiagnostic-Code: smtp; {diagnostic}\r\n\r\n\
         --B/1.mx\r\nContent-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n\r\n\
         From: shop@example.com\r\nTo: eve@example.org\r\nX-Lux-Mail: 7-abcdef\r\nSubject: Hi\r\n\r\nHello\r\n\r\n\
         --B/1.mx--\r\n"
    )
}

const COMPLAINT: &str = "From: staff@hotmail.example\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nabuse\r\n\
    --b\r\nContent-Type: message/feedback-report\r\n\r\n\
    Feedback-Type: abuse\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n\r\n\
    --b\r\nContent-Type: text/rfc822-headers\r\n\r\n\
    Received: from x\r\nx-lux-mail:\r\n 9-fedcba\r\nSubject: Hi\r\n\r\n--b--\r\n";

#[test]
fn reports_are_understood() {
    for (status, diagnostic, kind) in [
        ("5.1.1", "550 5.1.1 <eve@example.org>: Recipient address rejected", Kind::Hard),
        ("5.0.0", "550 no such user", Kind::Hard),
        ("5.2.2", "552 5.2.2 mailbox full", Kind::Soft),
        ("5.7.1", "550 5.7.1 blocked", Kind::Soft),
        ("4.4.1", "connection timed out", Kind::Soft),
    ] {
        let text = notification(status, diagnostic);
        // With the line ends of the network, and with those of a file.
        for text in [text.clone(), text.replace("\r\n", "\n")] {
            let found = reports(text.as_bytes());
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!((found[0].mark.as_str(), found[0].kind), ("7-abcdef", kind), "{text}");
            assert!(found[0].reason.contains(diagnostic), "{found:?}");
        }
    }
    let found = reports(COMPLAINT.as_bytes());
    assert_eq!((found[0].mark.as_str(), found[0].kind), ("9-fedcba", Kind::Complaint));
    let delayed = notification("4.4.1", "x").replace("Action: failed", "Action: delayed");
    assert_eq!(reports(delayed.as_bytes()), []);
    assert_eq!(reports(b"Subject: I am away\r\n\r\nX-Lux-Mail: 7-abcdef\r\n"), []);
    assert_eq!(reports(COMPLAINT.replace("abuse", "not-spam").as_bytes()), []);
}

#[test]
fn a_mailbox_is_many_messages_and_a_message_is_one() {
    let one = notification("5.1.1", "x").replace("\r\n", "\n");
    let mailbox = format!(
        "From MAILER-DAEMON Sat Nov 21 10:00:00 2026\n{one}\n\
         From MAILER-DAEMON Sat Nov 21 10:00:01 2026\nSubject: x\n\nI say\n\n>From me\nFrom here on\n\n\
         From MAILER-DAEMON Sat Nov 21 10:00:02 2026\n{COMPLAINT}\n"
    );
    let read = |text: &str| Messages::new(text.as_bytes()).map(Result::unwrap).collect::<Vec<_>>();
    let messages = read(&mailbox);
    assert_eq!(messages.len(), 3, "{messages:?}");
    let found: Vec<_> = messages.iter().map(|message| reports(message).len()).collect();
    assert_eq!(found, [1, 0, 1]);
    assert!(String::from_utf8_lossy(&messages[1]).contains("\n\nFrom me\nFrom here on\n"));
    assert_eq!(read(&one), [one.as_bytes()]);
    assert_eq!(read("").len(), 0);
    let long = "x".repeat(5 << 20);
    let messages = read(&format!("From a\n{long}\n\nFrom b\nSubject: y\n\n"));
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].len(), 2 << 20);
}

/// Made to break whoever reads them: no answer, no crash, no report that is not in there.
#[test]
fn hostile_messages_are_only_strange() {
    let whole = notification("5.1.1", "x");
    // Cut anywhere.
    for at in 0..whole.len() {
        let found = reports(&whole.as_bytes()[..at]);
        assert!(found.len() <= 1);
    }
    // Every byte replaced by those that mean something.
    for at in (0..whole.len()).step_by(7) {
        for byte in [0_u8, 0xff, b'\n', b'"', b'=', b'-'] {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] = byte;
            reports(&bytes);
        }
    }
    for depth in [10_usize, 100, 1000, 50_000] {
        let mut nested = String::from("MIME-Version: 1.0\r\n");
        for _ in 0..depth {
            nested.push_str("Content-Type: message/rfc822\r\n\r\n");
        }
        assert_eq!(reports(nested.as_bytes()), []);
        let mut nested = String::from("MIME-Version: 1.0\r\n");
        for level in 0..depth {
            write!(
                nested,
                "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"
            )
            .unwrap();
        }
        assert_eq!(reports(nested.as_bytes()), []);
        let digest = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n".repeat(depth);
        assert_eq!(reports(digest.as_bytes()), []);
    }
    let huge = format!("Subject: {}\r\n{whole}", "x ".repeat(400_000));
    assert!(reports(huge.as_bytes()).len() <= 1);
    let many = format!("{}{whole}", "X-A: b\r\n".repeat(100_000));
    assert!(reports(many.as_bytes()).len() <= 1);
    for (from, to) in [
        ("charset=us-ascii", "charset=\"no-such-charset-\u{1f4a3}\""),
        ("charset=us-ascii", "charset=utf-7"),
        (" boundary=", " no-boundary="),
        (" boundary=\"B/1.mx\"", " boundary=\"\""),
        ("--B/1.mx", "--B/2.mx"),
        (
            "Content-Type: message/delivery-status",
            "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64",
        ),
        (
            "Content-Type: message/rfc822",
            "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable",
        ),
        ("7-abcdef", &"9".repeat(5000)),
        ("Status: 5.1.1", "Status: 99999999999.1.1"),
        ("Status: 5.1.1", "Status: 5.1.1.1.1.1"),
    ] {
        assert!(whole.contains(from), "{from}");
        let found = reports(whole.replace(from, to).as_bytes());
        assert!(found.iter().all(|report| report.mark.len() <= 100), "{found:?}");
    }
    for bytes in [&b""[..], b"\0", b"\r\n\r\n", b"Content-Type:", &[0xff; 1000], b"From \n"] {
        assert_eq!(reports(bytes), []);
    }
}
