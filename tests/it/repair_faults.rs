//! Repairs when everything around them fails.
