//! `check = { … }` as it is written. Which keys there are depends on one of them, so their shape is looked at later.

use std::collections::BTreeMap;

use toml::{Spanned, Value};

/// `check`
pub type Check = BTreeMap<Spanned<String>, Spanned<Value>>;
