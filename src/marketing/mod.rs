//! Marketing: eleven agents that draft, analyse and propose, and campaigns that go out by mail.

pub mod sending;
