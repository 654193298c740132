//! What fields are called, by those who write forms, and by programs that write tables. Names are
//! compared without case and separators ([`plain`]); of several that came, earlier ones win.

pub(super) const EMAIL: &[&str] = &[
    "email",
    "emailaddress",
    "mail",
    "mailaddress",
    "emailadresse",
    "primaryemail",
    "contactemail",
    "youremail",
    "useremail",
    "customeremail",
    "workemail",
    "emails",
    "email1",
    "email1value",
];
pub(super) const FIRST_NAME: &[&str] =
    &["firstname", "first", "givenname", "fname", "forename", "vorname", "prénom", "prenom"];
pub(super) const LAST_NAME: &[&str] =
    &["lastname", "last", "surname", "familyname", "lname", "nachname", "nom"];
/// First and last name in one.
pub(super) const NAME: &[&str] = &["fullname", "name", "yourname", "contactname", "displayname"];
pub(super) const COMPANY: &[&str] = &[
    "company",
    "companyname",
    "organization",
    "organisation",
    "business",
    "businessname",
    "firma",
    "employer",
];
pub(super) const PHONE: &[&str] = &[
    "phone",
    "phonenumber",
    "mobile",
    "mobilephone",
    "mobilenumber",
    "telephone",
    "telefon",
    "tel",
    "cell",
    "cellphone",
    "whatsapp",
    "phone1value",
];
pub(super) const SOURCE: &[&str] =
    &["source", "leadsource", "signupsource", "formname", "utmsource"];
pub(super) const TAGS: &[&str] = &["tags", "tag", "labels", "label"];
pub(super) const CONSENT: &[&str] = &[
    "consent",
    "optin",
    "marketingconsent",
    "emailconsent",
    "acceptsmarketing",
    "newsletteroptin",
    "newsletterconsent",
    "gdprconsent",
];

/// A name without case and separators.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
