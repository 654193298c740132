//! How long a certificate is still valid.

use chrono::{DateTime, Utc};
use x509_parser::prelude::{FromDer, X509Certificate};

/// When a certificate (DER) ends; `None` if it cannot be read.
pub(in crate::probe) fn ends(der: &[u8]) -> Option<DateTime<Utc>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// Why a certificate is not good for so many days more; else how long it is.
pub(in crate::probe) fn check(
    der: Option<&[u8]>,
    days: u32,
    now: DateTime<Utc>,
) -> Result<String, String> {
    let Some(der) = der else {
        return Err("the answer came without TLS, so there is no certificate".to_owned());
    };
    let Some(ends) = ends(der) else {
        return Err("the certificate cannot be read".to_owned());
    };
    let left = (ends - now).num_days();
    let until = ends.format("%Y-%m-%d");
    if left < i64::from(days) {
        return Err(format!(
            "the certificate ends on {until}, in {left} days; {days} are expected at least"
        ));
    }
    Ok(format!("the certificate is valid for {left} days more, until {until}"))
}
