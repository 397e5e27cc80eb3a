//! Files that are no TOML, or whose shape is wrong: the parser's words made ours.

use super::problem::{ConfigErrors, Report};

/// Keys of the plan that this version does not have, so that the answer is "not yet" and not "unknown".
const LATER: &[&str] = &["metrics"];

pub fn explain(mut report: Report<'_>, error: &toml::de::Error) -> ConfigErrors {
    let message = error.message();
    let message = match unknown_field(message) {
        Some((key, _)) if LATER.contains(&key) => {
            format!("`{key}` is not in this version yet; remove it")
        }
        Some((key, known)) => match (super::vrrp::translate(key, &known), nearest(key, &known)) {
            (Some(cure), _) => format!("`{key}` is keepalived's word; {cure}"),
            (None, Some(near)) => format!("unknown key `{key}`; did you mean `{near}`?"),
            (None, None) => format!("unknown key `{key}`; known here: {}", known.join(", ")),
        },
        None => message.trim_end().to_owned(),
    };
    report.error(error.span().unwrap_or(0..0), message);
    report.into_errors()
}

/// Takes serde's sentence apart: "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

/// The known key that is spelt most like `key`, if any is close.
pub fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|known| (distance(key, known), *known)).min()?;
    (near.0 <= 1 + key.len() / 4).then_some(near.1)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_offered_only_if_it_is_near() {
        assert_eq!(nearest("wieght", &["name", "weight"]), Some("weight"));
        assert_eq!(nearest("adress", &["address", "name"]), Some("address"));
        assert_eq!(nearest("colour", &["address", "name"]), None);
    }
}
