//! The first messages on a link: a `hello`, or a `resume` with the number of the attempt.

use signalbox_protocol::{
    ClientMessage, Feature, Features,
    limits::CURSORS,
    message::{Hello, Resume},
};

use crate::{options::ConnectOptions, order::ResumePosition, ticket::ResumeTicket};

/// The first messages of a client on each link that it opens, until one is answered.
#[derive(Clone, Copy)]
pub(crate) enum Opening<'a> {
    /// Joins as a new connection.
    Hello(&'a ConnectOptions),
    /// Resumes a connection whose link is lost.
    Resume { options: &'a ConnectOptions, ticket: &'a ResumeTicket, position: &'a ResumePosition },
}

impl<'a> Opening<'a> {
    pub(crate) fn is_resume(self) -> bool {
        matches!(self, Self::Resume { .. })
    }

    /// The messages for one link. Each call counts as an attempt: the gateway refuses an attempt
    /// that arrives after a later one, so two links must never carry the same number.
    pub(crate) fn messages(self) -> Vec<ClientMessage<'a>> {
        match self {
            Self::Hello(options) => vec![hello(options)],
            Self::Resume { options, ticket, position } => resume(options, ticket, position),
        }
    }
}

fn hello(options: &ConnectOptions) -> ClientMessage<'_> {
    ClientMessage::Hello(Hello {
        token: options.token.as_str().into(),
        features: Features::NONE
            .with(Feature::Presence, options.presence)
            .with(Feature::Resume, options.resume),
        streams: options.streams,
        agent: Some(options.agent.as_str().into()),
    })
}

fn resume<'a>(
    options: &'a ConnectOptions,
    ticket: &'a ResumeTicket,
    position: &ResumePosition,
) -> Vec<ClientMessage<'a>> {
    let mut chunks = position.cursors.chunks(CURSORS).map(<[_]>::to_vec).peekable();
    let cursors = chunks.next().unwrap_or_default();
    let resume = ClientMessage::Resume(Resume {
        ticket: ticket.as_str().into(),
        attempt: ticket.next_attempt(),
        streams: options.streams,
        events: position.events,
        accepted: position.accepted,
        cursors,
        more: chunks.peek().is_some(),
        agent: Some(options.agent.as_str().into()),
    });
    let mut messages = vec![resume];
    while let Some(cursors) = chunks.next() {
        messages.push(ClientMessage::Cursors { cursors, more: chunks.peek().is_some() });
    }
    messages
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::message::{Cursor, Ticket};

    use super::*;

    #[test]
    fn many_cursors_take_several_messages() {
        let options = ConnectOptions::new("quic://a", "token");
        let resume_ticket = ResumeTicket::new(Ticket { ticket: "ticket".into(), window_ms: 1000 });
        for (count, expected) in [
            (0, vec![(0, false)]),
            (500, vec![(500, false)]),
            (501, vec![(500, true), (1, false)]),
            (1500, vec![(500, true), (500, true), (500, false)]),
        ] {
            let cursors =
                vec![
                    Cursor { from: signalbox_protocol::GatewayId::default().into(), seq: 1 };
                    count
                ];
            let position = ResumePosition { events: 0, accepted: 0, cursors };
            let messages =
                Opening::Resume { options: &options, ticket: &resume_ticket, position: &position }
                    .messages();
            let sizes = messages.iter().map(|message| match message {
                ClientMessage::Resume(resume) => (resume.cursors.len(), resume.more),
                ClientMessage::Cursors { cursors, more } => (cursors.len(), *more),
                other => panic!("{other:?}"),
            });
            assert_eq!(sizes.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn attempts_with_one_ticket_are_numbered_from_one() {
        let options = ConnectOptions::new("quic://a", "token");
        let resume_ticket = ResumeTicket::new(Ticket { ticket: "ticket".into(), window_ms: 1000 });
        let position = ResumePosition { events: 0, accepted: 0, cursors: vec![] };
        let opening =
            Opening::Resume { options: &options, ticket: &resume_ticket, position: &position };
        for expected in 1..=3 {
            let messages = opening.messages();
            let [ClientMessage::Resume(Resume { attempt, .. })] = messages[..] else {
                panic!("{messages:?}")
            };
            assert_eq!(attempt, expected);
        }
    }
}
