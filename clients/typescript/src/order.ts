/**
 * The order of events, without any I/O.
 *
 * Over WebTransport, presence events arrive on the control stream and each sender's signals on a
 * stream of their own, so their relative order is arbitrary. The application receives them in one
 * order: created, then the sender's signals in sequence, then destroyed. What arrives too early is
 * held here. A link does not read further from a stream that holds something, so the amount held is
 * bounded by one read per stream.
 *
 * A connection may outlive its link. What was held is then dropped: it was not delivered, and the
 * gateway sends it again. The position that was reached for each sender is kept; the gateway resumes
 * from there.
 */

import type { ConnectionInfo } from './event.js';
import {
  CURSORS_IN_ALL,
  type Cursor,
  type DisconnectReason,
  type GatewayMessage,
  type Sender,
  type Welcome,
  type WireLost,
  senderKey,
} from './protocol/messages.js';
import { Malformed } from './protocol/postcard.js';

/** An event in its order. The session adds what it knows of the connections. */
export type OrderedEvent =
  | { kind: 'sessionJoined' | 'sessionRejoined'; connection: ConnectionInfo }
  | { kind: 'sessionReconnected'; missed: number; gap: WireGap | undefined }
  | { kind: 'connectionCreated'; connection: ConnectionInfo }
  | { kind: 'connectionDestroyed'; id: string; reason: DisconnectReason }
  | { kind: 'signal'; from: Sender; seq: number; type: string | null; data: string | null }
  | { kind: 'gap'; lost: WireLost[] };

/** What all `gap` messages ahead of one `resumed` say. */
export interface WireGap {
  lost: WireLost[];
  presence: boolean;
}

/** How far a client has read, from which the gateway determines what it missed. */
export interface ResumePosition {
  events: number;
  /** Signals of the client that the gateway has confirmed. */
  accepted: number;
  cursors: Cursor[];
}

/** Type and data of a signal on a sender's stream. */
export interface SignalContents {
  type: string | null;
  data: string | null;
}

interface HeldStream {
  key: number;
  /** The sequence number that must be delivered before anything of this stream. */
  after: number;
  held: (SignalContents & { seq: number })[];
}

/**
 * Destroyed connections that are remembered. The oldest is forgotten first. A list is out of
 * date for a resume window at most, so the latest ids suffice.
 */
const DESTROYED_IDS = 1024;

/** One small entry for each sender that is present or has sent. */
interface SenderState {
  from: Sender;
  created: boolean;
  /** The last sequence number that was delivered to the application. */
  delivered: number;
  /** A stream was reset: its remaining signals never arrive, and nothing waits for them. */
  broken: boolean;
  streams: HeldStream[];
  destroyed: { reason: DisconnectReason; lastSeq: number } | undefined;
}

/** Puts events into the order that applications rely on. */
export class Order {
  readonly #presence: boolean;
  readonly #emit: (event: OrderedEvent) => void;
  #me = '';
  #senders = new Map<string, SenderState>();
  /**
   * Connections that a gateway may still name, although the application was told of their end. The
   * oldest is first.
   */
  #destroyedIds = new Set<Sender>();
  /** Streams of this link that have not ended. */
  #streams = new Map<number, SenderState>();
  /** Presence events read since the welcome, or since the gateway last listed all connections. */
  #events = 0;
  /** How many connections the gateway has still to list as present. */
  #unlisted = 0;

  constructor(presence: boolean, emit: (event: OrderedEvent) => void) {
    this.#presence = presence;
    this.#emit = emit;
  }

  /** The client has joined, as a connection of which nothing is known yet. */
  join(welcome: Welcome, again: boolean): void {
    this.#me = welcome.connection.id;
    this.#senders.clear();
    this.#destroyedIds.clear();
    this.#streams.clear();
    this.#events = 0;
    this.#unlisted = welcome.present;
    const { connection } = welcome;
    this.#emit({ kind: again ? 'sessionRejoined' : 'sessionJoined', connection });
  }

  /** The connection is resumed. If the gap includes presence, `present` lists all connections. */
  resume(missed: number, gap: WireGap | undefined, present: ConnectionInfo[]): void {
    this.#emit({ kind: 'sessionReconnected', missed, gap });
    for (const { from, until } of gap?.lost ?? []) {
      const state = this.#state(from);
      if (!state) continue;
      // Nothing waits for the lost signals, and they are not requested again.
      state.delivered = Math.max(state.delivered, until);
      this.#advance(state);
    }
    if (gap?.presence) {
      this.#events = 0;
      this.#retainListed(new Set(present.map((it) => it.id)));
      this.#present(present);
    }
  }

  /**
   * A message of the control stream about the session. Throws {@link Malformed} if it is not allowed
   * at this point.
   */
  control(message: GatewayMessage): void {
    switch (message.kind) {
      case 'present':
        this.#unlisted = Math.max(0, this.#unlisted - message.connections.length);
        this.#present(message.connections);
        break;
      case 'connectionCreated': {
        const { id, createdAt, data } = message;
        this.#events++;
        this.#created({ id, createdAt, data });
        break;
      }
      case 'connectionDestroyed': {
        const { id, reason, lastSeq } = message;
        this.#events++;
        const state = this.#senders.get(id);
        if (state?.created) {
          state.destroyed = { reason, lastSeq };
          this.#advance(state);
        } else {
          // The application does not know it, so nothing waits for its end.
          this.#senders.delete(id);
        }
        break;
      }
      case 'signal': {
        // All signals are on one stream: the gateway's order is the order.
        const state = this.#state(message.from);
        if (!state) break;
        this.#deliver(state, message.seq, message);
        // The destruction of a connection may have waited for this on an earlier link.
        this.#advance(state);
        break;
      }
      case 'gap':
        // Only when resuming does a gap include presence: the member list follows it.
        if (message.presence) throw new Malformed('a gap of presence outside a resume');
        // It has no order relative to the signals of its senders, so it changes no cursor: the signals
        // before the gap may still be on their way.
        this.#emit({ kind: 'gap', lost: message.lost });
        break;
      default: // The link handles the others.
    }
  }

  /**
   * The link is lost, and the gateway has confirmed `accepted` of the client's signals. Returns the
   * position to resume from; `undefined` if it is not certain.
   */
  linkLost(accepted: number): ResumePosition | undefined {
    this.#streams.clear();
    let certain = this.#unlisted === 0;
    const cursors: Cursor[] = [];
    for (const [key, state] of this.#senders) {
      certain &&= !state.broken;
      state.streams = [];
      if (!state.created && state.delivered === 0) {
        this.#senders.delete(key);
      } else if (state.delivered > 0 || state.destroyed) {
        // For a connection that has left, no cursor means that all of its signals were delivered.
        cursors.push({ from: state.from, seq: state.delivered });
      }
    }
    certain &&= cursors.length <= CURSORS_IN_ALL;
    return certain ? { events: this.#events, accepted, cursors } : undefined;
  }

  /** A stream has this sender from now on. An earlier sender's part of it has ended. */
  open(stream: number, from: Sender, after: number): void {
    this.end(stream, false);
    const state = this.#state(from);
    // The signals of a destroyed connection are read and dropped.
    if (!state) return;
    this.#streams.set(stream, state);
    state.streams.push({ key: stream, after, held: [] });
    state.streams.sort((one, other) => one.after - other.after);
  }

  /** A signal has arrived on a sender's stream. */
  signal(stream: number, seq: number, contents: SignalContents): void {
    const state = this.#current(stream);
    if (!state) return;
    // The last one: an earlier part of the stream may be held, too.
    state.streams.filter((it) => it.key === stream).at(-1)?.held.push({ seq, ...contents });
    this.#advance(state);
  }

  /** A sender's stream has ended; `reset` if not cleanly. */
  end(stream: number, reset: boolean): void {
    const state = this.#current(stream);
    this.#streams.delete(stream);
    if (!state) return;
    state.broken ||= reset;
    this.#advance(state);
    // Signals that it holds wait for other streams; an empty stream is done.
    state.streams = state.streams.filter((it) => it.key !== stream || it.held.length > 0);
  }

  /** Whether reading more of this stream would only fill memory for now. */
  isHeld(stream: number): boolean {
    const held = this.#current(stream)?.streams.filter((it) => it.key === stream).at(-1);
    return held !== undefined && held.held.length > 0;
  }

  /** The first sender of which something waits for a stream, and how far it is; if there is one. */
  get waitsFor(): string | undefined {
    for (const [key, { created, delivered, destroyed, streams }] of this.#senders) {
      const waits = destroyed !== undefined || streams.some((it) => it.held.length > 0);
      if (created && waits) return `${key} ${delivered}`;
    }
    return undefined;
  }

  /** The entry of a sender; `undefined` if it is a connection that was destroyed. */
  #state(from: Sender): SenderState | undefined {
    const key = senderKey(from);
    let state = this.#senders.get(key);
    // Destroyed connections have no entry, so known senders need no look-up.
    if (!state && !this.#destroyedIds.has(from)) {
      state = { from, created: false, delivered: 0, broken: false, streams: [], destroyed: undefined };
      this.#senders.set(key, state);
    }
    return state;
  }

  /** The sender of a stream, unless it was reported as destroyed: then it sends nothing more. */
  #current(stream: number): SenderState | undefined {
    const state = this.#streams.get(stream);
    return state && this.#senders.get(senderKey(state.from)) === state ? state : undefined;
  }

  /** Connections that are present. After a gap some of them are known already. */
  #present(connections: ConnectionInfo[]): void {
    for (const connection of connections) this.#created(connection);
  }

  /** Connections that are known and were not listed have left. */
  #retainListed(listed: Set<string>): void {
    const left = [...this.#senders.values()].filter(
      ({ from, created }) => typeof from === 'string' && created && !listed.has(from),
    );
    // A fixed order; the gateway gives none.
    left.sort((one, other) => (one.from < other.from ? -1 : 1));
    for (const { from, destroyed } of left) {
      this.#destroyed(from as string, destroyed?.reason ?? 'networkDisconnected');
    }
    if (!this.#presence) return;
    // A connection that joined and left meanwhile is not listed. A cursor for it would request its
    // last signals.
    for (const [key, { from }] of this.#senders) {
      const known = typeof from !== 'string' || from === this.#me || listed.has(from);
      if (!known) this.#senders.delete(key);
    }
  }

  /** A connection is in the session. The application is told once, and never after its end. */
  #created(connection: ConnectionInfo): void {
    const state = this.#state(connection.id);
    if (!state || state.created) return;
    state.created = true;
    this.#emit({ kind: 'connectionCreated', connection });
    this.#advance(state);
  }

  /** Emits the events of this sender that have become due. */
  #advance(state: SenderState): void {
    const { from } = state;
    const isConnection = typeof from === 'string';
    if (this.#presence && isConnection && from !== this.#me && !state.created) return;
    for (const stream of state.streams) {
      if (stream.after > state.delivered && !state.broken) break;
      for (const { seq, ...contents } of stream.held.splice(0)) this.#deliver(state, seq, contents);
    }
    state.streams = state.streams.filter((it) => this.#streams.has(it.key) || it.held.length > 0);
    const { destroyed } = state;
    if (isConnection && destroyed && (state.delivered >= destroyed.lastSeq || state.broken)) {
      this.#destroyed(from, destroyed.reason);
    }
  }

  #deliver(state: SenderState, seq: number, { type, data }: SignalContents): void {
    state.delivered = seq;
    // An empty type is the same as none, and the gateway passes it on as it came.
    this.#emit({ kind: 'signal', from: state.from, seq, type: type || null, data });
  }

  #destroyed(id: string, reason: DisconnectReason): void {
    // Without a cursor in the next resume, the gateway takes it that all signals of this connection
    // were delivered.
    this.#senders.delete(id);
    this.#destroyedIds.add(id);
    if (this.#destroyedIds.size > DESTROYED_IDS) {
      const [oldest] = this.#destroyedIds;
      this.#destroyedIds.delete(oldest!);
    }
    this.#emit({ kind: 'connectionDestroyed', id, reason });
  }
}
