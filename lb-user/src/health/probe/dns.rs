//! DNS: a question in one datagram.

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};

use super::deadline::Deadline;
use super::{ProbeFailure, Target, udp};
use crate::config::{Dns, rcode_name};

pub async fn probe(dns: &Dns, target: Target<'_>, deadline: Deadline) -> Result<(), ProbeFailure> {
    let question = question(dns);
    let bytes = question.to_vec().map_err(|error| ProbeFailure::wrong(format!("no question can be made: {error}")))?;
    let socket = deadline.io("sending the question", udp::send(target, &bytes)).await?;
    let mut buffer = vec![0; udp::DATAGRAM];
    loop {
        let length = deadline.io("waiting for the answer", socket.recv(&mut buffer)).await?;
        let message = Message::from_vec(&buffer[..length])
            .map_err(|error| ProbeFailure::wrong(format!("what comes back is no DNS message: {error}")))?;
        if is_answer(&question, &message) {
            return judge(dns, &message);
        }
    }
}

fn question(dns: &Dns) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(dns.name.clone(), dns.record));
    message
}

/// Whether it is about our question; one that could not be read is sent back without it.
fn is_answer(question: &Message, message: &Message) -> bool {
    let ours = message.queries.is_empty() || message.queries == question.queries;
    message.metadata.id == question.metadata.id && message.metadata.message_type == MessageType::Response && ours
}

fn judge(dns: &Dns, message: &Message) -> Result<(), ProbeFailure> {
    let rcode = message.metadata.response_code;
    let asked = format!("{} {}", dns.name, dns.record);
    if rcode != dns.rcode {
        let (rcode, expected) = (rcode_name(rcode), rcode_name(dns.rcode));
        return Err(ProbeFailure::wrong(format!("the answer for {asked} is {rcode}, expected {expected}")));
    }
    // What does not fit into a datagram is there, but left out.
    if rcode == ResponseCode::NoError && message.answers.is_empty() && !message.metadata.truncation {
        return Err(ProbeFailure::wrong(format!("there is no record for {asked}")));
    }
    Ok(())
}
