//! The checks of claims, one by one; signatures are checked against a real provider by the
//! integration tests.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Claims, Expected, Of, Refused, Unverified, Verified};

const NOW: i64 = 1_800_000_000;

fn check_with(
    change: impl Fn(&mut Value),
    of: Of<'_>,
    audiences: &[String],
) -> Result<Claims, Refused> {
    let mut claims = json!({
        "iss": "https://id.example/oidc", "aud": "client", "sub": "42", "nonce": "n",
        "exp": NOW + 3600, "iat": NOW, "auth_time": NOW - 5, "email": "ada@example.com",
        "email_verified": true, "first_name": "Ada", "last_name": null,
        "at_hash": "to be set by the test that looks at it",
    });
    change(&mut claims);
    let Value::Object(claims) = claims else { unreachable!() };
    Verified(claims).check(&Expected {
        issuer: "https://id.example/oidc",
        client_id: "client",
        audiences,
        access_token: "access",
        now: chrono::DateTime::from_timestamp(NOW, 0).unwrap(),
        of,
    })
}

fn check(change: impl Fn(&mut Value)) -> Result<Claims, Refused> {
    check_with(change, Of::SignIn { nonce: "n" }, &[])
}

#[test]
fn a_good_token_names_a_person() {
    // The test's own hash has to be the right one.
    let half = super::digest::digest(&super::digest::SHA256, b"access");
    let half = URL_SAFE_NO_PAD.encode(&half.as_ref()[..16]);
    let claims = check(|claims| claims["at_hash"] = json!(half)).unwrap();
    assert_eq!((claims.subject.as_str(), claims.email_verified), ("42", true));
    assert_eq!(claims.name.as_deref(), Some("Ada"));
}

#[test]
fn each_claim_has_its_refusal() {
    let gone = Value::Null;
    for (claim, value, refused) in [
        ("iss", gone.clone(), Refused::MissingIssuer),
        ("iss", json!("https://id.example/oidc/"), Refused::WrongIssuer),
        ("iss", json!(["https://id.example/oidc"]), Refused::WrongIssuer),
        ("aud", gone.clone(), Refused::MissingAudience),
        ("aud", json!("other"), Refused::WrongAudience),
        ("aud", json!([]), Refused::WrongAudience),
        ("aud", json!(["client", 7]), Refused::WrongAudience),
        ("aud", json!(["client", "other"]), Refused::MissingAuthorizedParty),
        ("azp", json!("other"), Refused::WrongAuthorizedParty),
        ("azp", json!(7), Refused::WrongAuthorizedParty),
        ("exp", gone.clone(), Refused::BadExpiry),
        ("exp", json!("1800003600"), Refused::BadExpiry),
        ("exp", json!(NOW - 60), Refused::Expired),
        ("exp", json!(-1), Refused::Expired),
        ("iat", gone.clone(), Refused::BadIssuedAt),
        ("iat", json!(NOW + 61), Refused::IssuedInFuture),
        ("iat", json!(NOW - 661), Refused::IssuedLongAgo),
        ("nbf", json!(NOW + 61), Refused::NotYetValid),
        ("nbf", json!("soon"), Refused::NotYetValid),
        ("sub", gone.clone(), Refused::BadSubject),
        ("sub", json!(""), Refused::BadSubject),
        ("sub", json!(42), Refused::BadSubject),
        ("sub", json!("a\nb"), Refused::BadSubject),
        ("sub", json!("ä"), Refused::BadSubject),
        ("sub", json!("x".repeat(256)), Refused::BadSubject),
        ("nonce", gone, Refused::MissingNonce),
        ("nonce", json!("N"), Refused::WrongNonce),
        ("nonce", json!(["n"]), Refused::WrongNonce),
        ("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA"), Refused::WrongAccessToken),
        ("at_hash", json!(1), Refused::WrongAccessToken),
    ] {
        let checked = check(|claims| {
            let claims = claims.as_object_mut().unwrap();
            if claim != "at_hash" {
                claims.remove("at_hash");
            }
            if value.is_null() {
                claims.remove(claim)
            } else {
                claims.insert(claim.to_owned(), value.clone())
            };
        });
        assert_eq!(checked, Err(refused), "{claim} = {value}");
    }
}

#[test]
fn what_is_within_the_limits_passes() {
    for (claim, value) in [
        ("aud", json!(["client"])),
        ("azp", json!("client")),
        ("exp", json!(NOW - 59)),
        ("exp", json!(1_800_003_600.5)),
        ("iat", json!(NOW + 60)),
        ("iat", json!(NOW - 660)),
        ("nbf", json!(NOW + 60)),
        ("sub", json!("x".repeat(255))),
    ] {
        let checked = check(|claims| {
            claims.as_object_mut().unwrap().remove("at_hash");
            claims[claim] = value.clone();
        });
        assert!(checked.is_ok(), "{claim} = {value}: {checked:?}");
    }
}

#[test]
fn an_address_is_verified_only_by_true() {
    for value in [json!("true"), json!(1), json!(false), json!(null), json!([true])] {
        let claims = check(|claims| {
            claims.as_object_mut().unwrap().remove("at_hash");
            claims["email_verified"] = value.clone();
        });
        assert!(!claims.unwrap().email_verified, "{value}");
    }
}

#[test]
fn other_audiences_are_those_that_are_configured() {
    let change = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("at_hash");
        claims["aud"] = json!(["client", "other"]);
        claims["azp"] = json!("client");
    };
    assert_eq!(check(change), Err(Refused::ForeignAudience));
    let known = ["other".to_owned()];
    assert!(check_with(change, Of::SignIn { nonce: "n" }, &known).is_ok());
}

#[test]
fn a_refresh_is_of_the_same_person() {
    let refresh = |subject, auth_time| {
        let change = |claims: &mut Value| {
            let claims = claims.as_object_mut().unwrap();
            claims.retain(|name, _| name != "at_hash" && name != "nonce");
        };
        check_with(change, Of::Refresh { subject, auth_time }, &[]).map(drop)
    };
    assert_eq!(refresh("42", Some(NOW - 5)), Ok(()));
    assert_eq!(refresh("42", None), Ok(()));
    assert_eq!(refresh("43", None), Err(Refused::OtherPerson));
    assert_eq!(refresh("42", Some(NOW)), Err(Refused::OtherPerson));
}

#[test]
fn a_header_says_rs256_and_nothing_unknown() {
    let read = |header: &str| {
        let token = format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
        Unverified::read(&token).map(|token| token.kid().map(str::to_owned))
    };
    assert_eq!(read(r#"{"alg":"RS256","kid":"a","typ":"JWT"}"#), Ok(Some("a".to_owned())));
    assert_eq!(read(r#"{"alg":"RS256","jku":"https://evil.example"}"#), Ok(None));
    for (header, refused) in [
        (r#"{"alg":"none"}"#, Refused::WrongAlgorithm),
        (r#"{"alg":"HS256"}"#, Refused::WrongAlgorithm),
        (r#"{"alg":"rs256"}"#, Refused::WrongAlgorithm),
        (r#"{"alg":"RS256","typ":"at+jwt"}"#, Refused::WrongType),
        (r#"{"alg":"RS256","crit":["x"]}"#, Refused::CriticalHeader),
        (r#"{"alg":"none","alg":"RS256"}"#, Refused::MalformedToken),
        (r#"{"kid":"a"}"#, Refused::MalformedToken),
        ("[]", Refused::MalformedToken),
        ("", Refused::MalformedToken),
    ] {
        assert_eq!(read(header), Err(refused), "{header}");
    }
    for token in ["", "a.b", "a.b.c.d", "...", "a b.c.d"] {
        assert_eq!(Unverified::read(token).err(), Some(Refused::MalformedToken), "{token}");
    }
}
