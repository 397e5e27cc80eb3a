//! Interfaces: whether each is up and has its link.

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Reporter;
use crate::net::LinkNews;
use crate::vrrp::priority::Health;

/// Passes on what is heard of these interfaces. One that is not there is down.
pub async fn watch(reporters: Vec<(String, Reporter)>, mut news: mpsc::Receiver<LinkNews>) {
    while let Some(news) = news.recv().await {
        for (name, reporter) in &reporters {
            let Some(up) = said_of(name, &news) else { continue };
            let is_news = reporter.report(if up { Health::Well } else { Health::Ill });
            match up {
                _ if !is_news => {}
                true => info!("interface {name} is up"),
                false => warn!("interface {name} is down"),
            }
        }
    }
}

fn said_of(name: &str, news: &LinkNews) -> Option<bool> {
    match news {
        LinkNews::All(links) => Some(links.get(name).copied().unwrap_or(false)),
        LinkNews::One { name: one, up } => (one == name).then_some(*up),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_down() {
        let all = LinkNews::All(HashMap::from([("eth0".into(), true)]));
        assert_eq!((said_of("eth0", &all), said_of("eth1", &all)), (Some(true), Some(false)));
        let one = LinkNews::One { name: "eth0".into(), up: false };
        assert_eq!((said_of("eth0", &one), said_of("eth1", &one)), (Some(false), None));
    }
}
