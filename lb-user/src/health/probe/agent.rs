//! An agent beside the server: a line of words, as HAProxy's agent-check takes it.

use tokio::io::{AsyncWriteExt, BufReader};

use super::deadline::Deadline;
use super::{Answer, ProbeFailure, Target, Weight, tcp};
use crate::config::Agent;

/// The longest line.
const LINE: usize = 1024;
/// The largest percentage.
const MOST: u16 = 10_000;

pub async fn probe(agent: &Agent, target: Target<'_>, deadline: Deadline) -> Result<Answer, ProbeFailure> {
    let mut stream = BufReader::new(tcp::connect(target, deadline).await?);
    deadline.io("sending to the agent", stream.write_all(&agent.send)).await?;
    let line = deadline.io("waiting for the agent's line", tcp::read_line(&mut stream, LINE)).await?;
    understand(&String::from_utf8_lossy(&line))
}

/// Words are parted by white space or commas and stand for themselves; what follows a `#` is for people. Words that say
/// nothing to us ("maxconn:30") are passed over, but one must.
fn understand(line: &str) -> Result<Answer, ProbeFailure> {
    let (words, why) = line.split_once('#').unwrap_or((line, ""));
    let mut answer = None;
    for word in words.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()) {
        let now = answer.unwrap_or_default();
        match word.to_ascii_lowercase().as_str() {
            "up" => answer = Some(now),
            "ready" => answer = Some(Answer { drain: false, ..now }),
            "drain" => answer = Some(Answer { drain: true, ..now }),
            word @ ("down" | "fail" | "failed" | "stopped" | "maint") => return Err(said(word, why)),
            word => {
                if let Some(percent) = percent(word)? {
                    answer = Some(Answer { weight: Some(Weight::Percent(percent)), ..now });
                }
            }
        }
    }
    answer.ok_or_else(|| {
        let shown: String = line.escape_default().take(80).collect();
        ProbeFailure::wrong(format!("the agent says \"{shown}\", which has no word like up, down, drain or 50%"))
    })
}

fn said(word: &str, why: &str) -> ProbeFailure {
    let colon = if why.trim().is_empty() { "" } else { ": " };
    ProbeFailure::wrong(format!("the agent says {word}{colon}{}", why.trim()))
}

fn percent(word: &str) -> Result<Option<u16>, ProbeFailure> {
    let Some(number) = word.strip_suffix('%') else { return Ok(None) };
    let percent = number.parse().ok().filter(|percent| *percent <= MOST);
    percent.map(Some).ok_or_else(|| {
        ProbeFailure::wrong(format!("the agent says \"{}\"; it must be 0% to {MOST}%", word.escape_default()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".{0,40}|[0-9%,#a-z ]{0,20}") {
            let _ = understand(&line);
        }
    }

    #[test]
    fn words_mean_what_haproxy_takes_them_for() {
        let up = Answer::default();
        let half = Some(Weight::Percent(50));
        let rows = [
            ("up", Ok(up)),
            ("UP ready", Ok(up)),
            ("50%", Ok(Answer { weight: half, drain: false })),
            ("drain,50%", Ok(Answer { weight: half, drain: true })),
            ("drain 50% ready maxconn:30", Ok(Answer { weight: half, drain: false })),
            ("down#disk full", Err("the agent says down: disk full")),
            ("up maint", Err("the agent says maint")),
            ("stopped", Err("the agent says stopped")),
            ("fail # 3 of 4 gone", Err("the agent says fail: 3 of 4 gone")),
            ("-1%", Err("the agent says \"-1%\"; it must be 0% to 10000%")),
            ("HTTP/1.0 400", Err("the agent says \"HTTP/1.0 400\", which has no word like up, down, drain or 50%")),
            ("# up", Err("the agent says \"# up\", which has no word like up, down, drain or 50%")),
        ];
        for (line, expected) in rows {
            let understood = understand(line).map_err(|failure| failure.to_string());
            assert_eq!(understood, expected.map_err(String::from), "{line}");
        }
    }
}
