//! Outgoing hooks: other programs subscribe to what happens here (REST hooks, as Zapier wants them).
