//! Mail by SMTP: the one door, as `outbound` is for HTTP.
