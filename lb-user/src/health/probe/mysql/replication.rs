//! How far a replica is behind.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, Value};

use super::super::ProbeFailure;
use crate::config::MysqlRole;

/// ER_PARSE_ERROR: the server is older than the words "replica" and "source".
const NO_SUCH_STATEMENT: u16 = 1064;

/// What matters of SHOW REPLICA STATUS; `None` is the server's NULL, or a column that is not there.
#[derive(Clone, Debug, Default)]
struct Status {
    receiver: Option<String>,
    applier: Option<String>,
    lag: Option<String>,
    receiver_error: Option<String>,
    applier_error: Option<String>,
}

/// Asks, and judges every source that the server follows.
pub async fn check(connection: &mut Conn, role: MysqlRole, max_lag: Duration) -> Result<(), ProbeFailure> {
    let rows: Vec<Row> = match connection.query("SHOW REPLICA STATUS").await {
        Err(Error::Server(error)) if error.code == NO_SUCH_STATEMENT => {
            connection.query("SHOW SLAVE STATUS").await.map_err(super::name)?
        }
        other => other.map_err(super::name)?,
    };
    if rows.is_empty() && role == MysqlRole::Replica {
        return Err(ProbeFailure::wrong("it is read-only, but follows no source (SHOW REPLICA STATUS is empty)"));
    }
    rows.iter().try_for_each(|row| judge(&Status::of(row), max_lag))
}

impl Status {
    /// The columns have old names and new ones.
    fn of(row: &Row) -> Self {
        let column = |names: [&str; 2]| {
            let columns = row.columns_ref();
            let index = columns.iter().position(|column| names.contains(&column.name_str().as_ref()))?;
            row.as_ref(index).and_then(text)
        };
        Self {
            receiver: column(["Replica_IO_Running", "Slave_IO_Running"]),
            applier: column(["Replica_SQL_Running", "Slave_SQL_Running"]),
            lag: column(["Seconds_Behind_Source", "Seconds_Behind_Master"]),
            receiver_error: column(["Last_IO_Error", "Last_IO_Error"]),
            applier_error: column(["Last_SQL_Error", "Last_SQL_Error"]),
        }
    }
}

fn judge(status: &Status, max_lag: Duration) -> Result<(), ProbeFailure> {
    let threads = [("IO", &status.receiver, &status.receiver_error), ("SQL", &status.applier, &status.applier_error)];
    for (thread, state, error) in threads {
        let state = state.as_deref().unwrap_or("unknown");
        if state != "Yes" {
            let error = error.as_deref().unwrap_or_default();
            let colon = if error.is_empty() { "" } else { ": " };
            return Err(ProbeFailure::wrong(format!(
                "replication does not run ({thread} thread: {state}){colon}{error}"
            )));
        }
    }
    let Some(lag) = status.lag.as_ref().and_then(|lag| lag.parse().ok()).map(Duration::from_secs) else {
        return Err(ProbeFailure::wrong("the server does not know how far it is behind its source"));
    };
    if lag > max_lag {
        return Err(ProbeFailure::wrong(format!("it is {lag:?} behind its source, at most {max_lag:?} are allowed")));
    }
    Ok(())
}

/// A value of a query without parameters comes as text.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_runs_and_is_not_far_behind() {
        let good = Status {
            receiver: Some("Yes".into()),
            applier: Some("Yes".into()),
            lag: Some("10".into()),
            ..Status::default()
        };
        let connecting = Some("Connecting".into());
        let rows = [
            (good.clone(), None),
            (
                Status { lag: Some("11".into()), ..good.clone() },
                Some("it is 11s behind its source, at most 10s are allowed"),
            ),
            (Status { lag: None, ..good.clone() }, Some("the server does not know how far it is behind its source")),
            (
                Status { receiver: connecting, receiver_error: Some("no route".into()), ..good.clone() },
                Some("replication does not run (IO thread: Connecting): no route"),
            ),
            (Status { applier: Some("No".into()), ..good }, Some("replication does not run (SQL thread: No)")),
        ];
        for (status, expected) in rows {
            let said = judge(&status, Duration::from_secs(10)).err().map(|failure| failure.to_string());
            assert_eq!(said.as_deref(), expected, "{status:?}");
        }
    }
}
