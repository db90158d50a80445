/** The first messages on a link: a `hello`, or a `resume` with the number of the attempt. */

import type { ResolvedOptions } from './options.js';
import type { ResumePosition } from './order.js';
import { CURSORS, type ClientMessage, type Streams } from './protocol/messages.js';
import type { ResumeTicket } from './ticket.js';

/** The first messages of a client on each link that it opens, until one is answered. */
export interface Opening {
  readonly isResume: boolean;
  /**
   * The messages for one link. Each call counts as an attempt: the gateway refuses an attempt that
   * arrives after a later one, so two links must never carry the same number.
   */
  messages(streams: Streams): ClientMessage[];
}

/** Joins as a new connection. */
export function hello(options: ResolvedOptions, token: string): Opening {
  const { presence, resume, agent } = options;
  const features = [...(presence ? ['presence'] : []), ...(resume ? ['resume'] : [])];
  return {
    isResume: false,
    messages: (streams) => [{ kind: 'hello', token, features, streams, agent }],
  };
}

/** Resumes a connection whose link is lost. */
export function resume(
  { agent }: ResolvedOptions,
  ticket: ResumeTicket,
  { events, accepted, cursors }: ResumePosition,
): Opening {
  const more = (end: number) => end < cursors.length;
  return {
    isResume: true,
    messages(streams) {
      const messages: ClientMessage[] = [
        {
          kind: 'resume',
          ticket: ticket.text,
          attempt: ticket.nextAttempt(),
          streams,
          events,
          accepted,
          cursors: cursors.slice(0, CURSORS),
          more: more(CURSORS),
          agent,
        },
      ];
      for (let at = CURSORS; more(at); at += CURSORS) {
        const part = cursors.slice(at, at + CURSORS);
        messages.push({ kind: 'cursors', cursors: part, more: more(at + CURSORS) });
      }
      return messages;
    },
  };
}
