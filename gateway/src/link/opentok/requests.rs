//! Requests of an admitted client. Each is answered once, and each repetition with the same answer.

use std::ops::ControlFlow::{self, Break, Continue};

use signalbox_opentok::{Action, Refusal, message};
use signalbox_relay::{Answer, Connection, RejectionReason, SignalCost, SignalError};
use tracing::trace;

use crate::{
    link::{
        control_rate::ControlRate,
        pace::{cost_of_message, cost_of_rejection},
        transport::LinkRequest,
    },
    metrics::TransportMetrics,
    services::Services,
};

/// Fulfils or refuses a request, and answers it. Breaks if the relay has closed the connection.
pub(in crate::link) fn answer(
    services: &Services,
    transport: &TransportMetrics,
    controls: &mut ControlRate,
    connection: &mut Connection,
    request: LinkRequest<'_>,
) -> ControlFlow<(), SignalCost> {
    let LinkRequest { transaction, action, .. } = request;
    let joins = matches!(action, Ok(Action::Create(_)));
    let (answer, cost) = match connection.answered(transaction) {
        Some(answer) => (answer, SignalCost::default()),
        None => fulfil(services, transport, controls, connection, transaction, action)?,
    };
    let frame = match &answer {
        // Only of the request with which the client has joined: it has sent it again before it could
        // read the answer, which it has got when it resumed.
        Answer::Accepted if joins => message::joined(transaction),
        Answer::Accepted => message::accepted(transaction),
        Answer::Refused { status, reason } => message::refused(transaction, *status, reason),
    };
    connection.answer(transaction, answer, Some(frame.into()), services.uptime());
    Continue(cost)
}

fn fulfil(
    services: &Services,
    transport: &TransportMetrics,
    controls: &mut ControlRate,
    connection: &mut Connection,
    transaction: &str,
    action: Result<Action<'_>, Refusal>,
) -> ControlFlow<(), (Answer, SignalCost)> {
    let now = services.uptime();
    let mut cost = SignalCost::default();
    let result = match action {
        Ok(Action::Signal { to, signal }) => {
            let tailed = services.tail().signal(&signal, to);
            match connection.signal_on_request(transaction, to, signal, now) {
                Ok(spent) => {
                    transport.signal();
                    trace!(seq = connection.sent(), "signal");
                    if let Some(signal) = tailed {
                        services.tail().sent(connection, signal, spent.wait);
                    }
                    cost = spent;
                    Ok(())
                }
                Err(SignalError::Rejected { reason, .. }) => {
                    if let Some(signal) = tailed {
                        services.tail().rejected(connection, signal, reason.code());
                    }
                    cost = cost_of_rejection(&reason);
                    Err(refusal(services, &reason))
                }
                Err(SignalError::Closed) => return Break(()),
            }
        }
        Ok(Action::Disconnect { .. }) if !controls.take(now) => {
            Err(Refusal::new(429, "too many requests to disconnect a connection; try again later"))
        }
        Ok(Action::Disconnect { id }) => {
            connection.force_disconnect(id, now).map_err(|reason| refusal(services, &reason))
        }
        // It has joined on another gateway, and has not read the answer. The reader has compared the
        // connection.
        Ok(Action::Create(_)) => {
            cost = cost_of_message(controls.take(now));
            Ok(())
        }
        Err(refusal) => {
            cost = cost_of_message(controls.take(now));
            Err(refusal)
        }
    };
    let answer = match result {
        Ok(()) => Answer::Accepted,
        Err(Refusal { status, reason }) => Answer::Refused { status, reason: (&*reason).into() },
    };
    Continue((answer, cost))
}

fn refusal(services: &Services, reason: &RejectionReason) -> Refusal {
    services.metrics().rejected(reason.code());
    Refusal::new(reason.code().http_status(), reason.to_string())
}
