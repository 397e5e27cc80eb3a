//! `confirm = "peers"` needs somebody to ask.

use toml::Value;

use super::problem::Report;
use super::{Director, raw};

/// Says where other directors are to be asked and there are none.
pub fn needs_peers(report: &mut Report<'_>, file: &raw::File, director: &Director) {
    if !director.peers.is_empty() {
        return;
    }
    for (pool, raw) in &file.pool {
        let keys = raw.get_ref().check.iter().flat_map(|check| check.get_ref());
        let confirm = keys.filter(|(key, value)| {
            key.get_ref() == "confirm" && matches!(value.get_ref(), Value::String(word) if word == "peers")
        });
        for (_, value) in confirm {
            let pool = pool.get_ref();
            let message = format!(
                "pool.{pool}.check.confirm is \"peers\", and director.peers names none; write the addresses of the other \
                 directors there, or remove `confirm`"
            );
            report.error(value.span(), message);
        }
    }
}
