//! `confirm = "peers"` needs somebody to ask.

use toml::Value;

use super::problem::Report;
use super::raw;

/// Says where other directors are to be asked and there are none.
pub fn needs_peering(report: &mut Report<'_>, file: &raw::File) {
    if file.peering.is_some() {
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
                "pool.{pool}.check.confirm is \"peers\", and there is no [peering], by which they are asked: add it, with \
                 the addresses of the other directors in director.peers, or remove `confirm`"
            );
            report.error(value.span(), message);
        }
    }
}
