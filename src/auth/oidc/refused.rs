//! Why a sign-in came to nothing: each reason has a name for the audit log, a sentence for the
//! person, and what to do next. None holds anything of a token.

use std::fmt;

use crate::error::Error;

/// Who can mend it, and so what the person is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The attempt is of no more use; another may succeed.
    Again,
    /// The provider says no.
    Provider,
    /// The provider's answer is not to be trusted.
    Distrust,
    /// The provider does not answer.
    Wait,
    /// Lux or the provider is set up wrongly.
    Settings,
}

impl Remedy {
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::Again => "Start the sign-in again, in this window.",
            Self::Provider => {
                "Start the sign-in again and agree to it, or choose another account there."
            }
            Self::Distrust => {
                "Start the sign-in again; if this stays, give the administrator the reason and \
                 the request id."
            }
            Self::Wait => "Try again in half a minute; whoever is signed in stays so.",
            Self::Settings => "An administrator finds what to change by `lux doctor`.",
        }
    }

    /// 400, 403 or 503.
    pub const fn status(self) -> http::StatusCode {
        match self {
            Self::Again => http::StatusCode::BAD_REQUEST,
            Self::Provider | Self::Distrust => http::StatusCode::FORBIDDEN,
            Self::Wait | Self::Settings => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

macro_rules! refusals {
    ($($name:ident $code:literal $remedy:ident $sentence:literal;)+) => {
        /// Why nobody was signed in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refused { $($name,)+ }

        impl Refused {
            /// Its name in the audit log and in texts: "wrong_issuer".
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// One sentence for the person.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }

            pub const fn remedy(self) -> Remedy {
                match self { $(Self::$name => Remedy::$remedy,)+ }
            }
        }
    };
}

refusals! {
    // The way back from the provider.
    RepeatedParameter "repeated_parameter" Again "The provider's answer holds a parameter twice.";
    UnknownState "unknown_state" Again "This sign-in was not begun here, or has been used already.";
    OtherBrowser "other_browser" Again "This sign-in was begun in another browser.";
    OtherProvider "other_provider" Distrust "The answer came from another provider than was asked.";
    TooLate "too_late" Again "The sign-in took longer than ten minutes.";
    AccessDenied "access_denied" Provider "The provider says that the sign-in was declined.";
    ProviderRefused "provider_refused" Distrust "The provider refused the sign-in.";
    ResponseIssuerMissing "response_issuer_missing" Distrust
        "The answer does not say which provider it is from.";
    ResponseIssuerWrong "response_issuer_wrong" Distrust
        "The answer says that it is from another provider.";
    NoCode "no_code" Again "The provider's answer holds no code.";
    // The provider itself.
    ProviderDown "provider_down" Wait "The provider does not answer.";
    DiscoveryInvalid "discovery_invalid" Settings
        "The provider's description of itself cannot be read.";
    DiscoveryIssuer "discovery_issuer" Settings
        "The provider calls itself otherwise than the issuer that is set.";
    DiscoveryEndpoint "discovery_endpoint" Settings
        "The provider names an endpoint on another host, or one without TLS.";
    NoPkce "no_pkce" Settings "The provider does not offer PKCE with S256.";
    NoRs256 "no_rs256" Settings "The provider does not sign with RS256.";
    NoAddress "no_address" Settings "Lux does not know its own address; public_url is not set.";
    // The exchange of the code.
    CodeRefused "code_refused" Again "The provider did not take its own code back.";
    ClientRefused "client_refused" Settings "The provider does not know Lux as its client.";
    AnswerInvalid "answer_invalid" Distrust "The provider's answer cannot be read.";
    GrantEnded "grant_ended" Again "The provider has ended this sign-in.";
    // The ID token.
    NoToken "no_token" Distrust "The provider's answer holds no ID token.";
    MalformedToken "malformed_token" Distrust "The ID token is not one.";
    WrongAlgorithm "wrong_algorithm" Distrust "The ID token is not signed with RS256.";
    WrongType "wrong_type" Distrust "The token is of another type than an ID token.";
    CriticalHeader "critical_header" Distrust "The ID token demands what Lux does not know.";
    UnknownKey "unknown_key" Distrust "The ID token is signed with a key that the provider does not publish.";
    KeyNotNamed "key_not_named" Distrust "The ID token does not say with which key it is signed.";
    UnusableKey "unusable_key" Distrust "The ID token's key is too weak, or not for signatures.";
    BadSignature "bad_signature" Distrust "The signature of the ID token is wrong.";
    MissingIssuer "missing_issuer" Distrust "The ID token does not say who issued it.";
    WrongIssuer "wrong_issuer" Distrust "The ID token is from another issuer.";
    MissingAudience "missing_audience" Distrust "The ID token does not say whom it is for.";
    WrongAudience "wrong_audience" Distrust "The ID token is not for Lux.";
    ForeignAudience "foreign_audience" Distrust "The ID token is for others as well.";
    MissingAuthorizedParty "missing_authorized_party" Distrust
        "The ID token is for several, and does not say for whom it was made.";
    WrongAuthorizedParty "wrong_authorized_party" Distrust "The ID token was made for another client.";
    BadExpiry "bad_expiry" Distrust "The ID token does not say until when it is valid.";
    Expired "expired" Distrust "The ID token has expired.";
    BadIssuedAt "bad_issued_at" Distrust "The ID token does not say when it was made.";
    IssuedInFuture "issued_in_future" Distrust
        "The ID token was made in the future; is a clock wrong?";
    IssuedLongAgo "issued_long_ago" Distrust
        "The ID token was made too long ago; is a clock wrong?";
    NotYetValid "not_yet_valid" Distrust "The ID token is not valid yet.";
    BadSubject "bad_subject" Distrust "The ID token does not say who signed in.";
    MissingNonce "missing_nonce" Distrust "The ID token is not bound to this sign-in.";
    WrongNonce "wrong_nonce" Distrust "The ID token belongs to another sign-in.";
    WrongAccessToken "wrong_access_token" Distrust
        "The ID token does not belong to the access token beside it.";
    OtherPerson "other_person" Distrust "The provider refreshed the sign-in of somebody else.";
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

/// What ends an attempt: a refusal, or a failure of Lux itself.
#[derive(Debug)]
pub enum Stopped {
    Refused(Refused),
    Failed(Error),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
