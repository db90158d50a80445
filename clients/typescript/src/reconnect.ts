/**
 * The reconnect loop: carries a session over successive links. When one is lost, the client resumes
 * its connection over another, or joins again, or gives up.
 */

import { Backoff, jitter } from './backoff.js';
import type { Dialer, OpenedLink } from './dial.js';
import { ConnectError } from './error.js';
import { EventDelivery } from './events.js';
import { ForceDisconnects } from './force-disconnects.js';
import { EventDispatcher, confirms } from './link/dispatcher.js';
import { type Disconnection, type Link, lost, withResolvers } from './link/link.js';
import { OutgoingMessages } from './link/outgoing.js';
import { SilenceWatch } from './link/silence.js';
import { type Opening, hello, resume } from './opening.js';
import type { TokenProvider, Transport } from './options.js';
import type { ResumePosition } from './order.js';
import { isOffline } from './page-life.js';
import type { ClientCloseReason } from './protocol/close.js';
import type { CloseReason, Welcome } from './protocol/messages.js';
import { type NextStep, afterRefusedHello, afterRefusedResume, reconnectSpread, shouldReconnect } from './reconnect-policy.js';
import { SendQueue } from './send-queue.js';
import { type InternalEvent, SessionView } from './session-view.js';
import type { ResumeTicket } from './ticket.js';
import { fetchToken } from './token.js';

/** How long a client tries to join again. */
const REJOIN_TIMEOUT_MS = 5 * 60_000;

/** How long a token provider may take when the client joins again. */
const TOKEN_TIMEOUT_MS = 10_000;

/** How long a client that leaves while it has no link tries to resume, to send its goodbye. */
const LEAVE_TIMEOUT_MS = 2_000;

/**
 * How long the goodbye is awaited: the time that the protocol gives the gateway, and one round trip
 * of a bad network.
 */
const GOODBYE_TIMEOUT_MS = 2_000;

/** After this time an attempt is not spared when the network returns. */
const FRESH_ATTEMPT_MS = 1_000;

/** How long a stream of a sender may be late before the client asks for a single stream. */
const STALL_MS = 5_000;

/** By how much a timer may be late without the machine having slept. */
const TIMER_SLACK_MS = 1_000;

/** A connection that can be resumed. */
interface Resumable {
  ticket: ResumeTicket;
  position: ResumePosition;
}

/** Carries one session. */
export class ReconnectLoop {
  readonly view: SessionView;
  readonly delivery: EventDelivery<InternalEvent>;
  readonly forceDisconnects = new ForceDisconnects();
  /** Resolves when the client is no longer in the session. */
  readonly ended: Promise<void>;
  readonly #dialer: Dialer;
  readonly #token: string | TokenProvider;
  readonly #outgoing: OutgoingMessages;
  readonly #dispatcher: EventDispatcher;
  readonly #backoff = new Backoff();
  #transport: Transport | undefined;
  #link: Link | undefined;
  #silence: SilenceWatch | undefined;
  /** Ends the current link from this side. */
  #endLink: ((end: Disconnection, closeWith: ClientCloseReason) => void) | undefined;
  /** Ends the current pause. */
  #nudge: (() => void) | undefined;
  /** The current attempt. */
  #attempt: { controller: AbortController; startedAt: number } | undefined;
  /** While the page is put aside. */
  #suspension: { promise: Promise<void>; resolve: () => void } | undefined;
  /** Whether the client is to leave, even if it has no link to say so. */
  #leaving = false;
  /** The client has left, and only its goodbye is still to be sent. */
  #left = false;
  #over = false;

  constructor(dialer: Dialer, token: string | TokenProvider, welcome: Welcome, link: Link) {
    this.#dialer = dialer;
    this.#token = token;
    this.view = new SessionView(welcome);
    dialer.welcomed(welcome.gateways);
    this.delivery = new EventDelivery((event) => {
      const told = this.view.apply(event);
      if (event.kind === 'connectionDestroyed') this.forceDisconnects.left(event.id);
      return told;
    });
    const queue = new SendQueue(confirms(welcome));
    this.#outgoing = new OutgoingMessages(queue);
    const emit = (event: InternalEvent) => this.#emit(event);
    this.#dispatcher = new EventDispatcher(dialer.options.presence, queue, emit);
    this.#dispatcher.joined(welcome, false);
    this.#transport = link.transport;
    this.ended = this.#run(link);
  }

  get transport(): Transport | undefined {
    return this.#transport;
  }

  get outgoing(): OutgoingMessages {
    return this.#outgoing;
  }

  /** Whether the client is told who joins and leaves. */
  get presence(): boolean {
    return this.#dialer.options.presence;
  }

  /** Whether the client has left or is about to: then it sends nothing more. */
  get isLeaving(): boolean {
    return this.#leaving || this.#over;
  }

  /** Leaves the session. Resolves when the client has left. */
  leave(): Promise<void> {
    if (!this.#leaving) {
      const ms = GOODBYE_TIMEOUT_MS + (this.#link ? 0 : LEAVE_TIMEOUT_MS);
      const timer = setTimeout(() => this.#abandonLink(), ms);
      void this.ended.then(() => clearTimeout(timer));
      this.#beginToLeave();
    }
    return this.ended;
  }

  /** Leaves the session within this task, as far as that is possible. */
  leaveNow(): void {
    this.#beginToLeave();
    this.#outgoing.flush();
    this.#abandonLink();
  }

  /** Leaves the link, and stays off the network. */
  suspend(): void {
    this.#suspension ??= withResolvers<void>() as { promise: Promise<void>; resolve: () => void };
    this.#endLink?.(lost('the page was put aside'), 'networkDisconnected');
    this.#attempt?.controller.abort();
  }

  /** Goes on after {@link suspend}. */
  resume(): void {
    this.#suspension?.resolve();
    this.#suspension = undefined;
    this.wake();
  }

  /** Checks the link, or reconnects, at once. */
  wake(): void {
    if (this.#link) return this.#silence?.suspect();
    this.#backoff.reset();
    this.#nudge?.();
    if (this.#attempt && Date.now() - this.#attempt.startedAt > FRESH_ATTEMPT_MS) {
      this.#attempt.controller.abort(lost('the network has changed'));
    }
  }

  #beginToLeave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#outgoing.enqueue({ kind: 'goodbye' });
    this.#suspension?.resolve();
    this.#suspension = undefined;
    this.#nudge?.();
    this.#attempt?.controller.abort();
  }

  #abandonLink(): void {
    const end: Disconnection = { reason: 'clientDisconnected', message: 'the client left' };
    this.#endLink?.(end, 'clientDisconnected');
  }

  #emit(event: InternalEvent): void {
    if (event.kind === 'rejected' && event.signal === null) {
      if (this.forceDisconnects.rejected(event.code, event.message)) return;
    }
    this.delivery.emit(event);
  }

  async #run(link: Link): Promise<void> {
    for (;;) {
      const startedAt = Date.now();
      const end = await this.#runLink(link);
      this.#backoff.resetIfStable(Date.now() - startedAt);
      const next = await this.#nextLink(end, link.transport);
      if (!('link' in next)) {
        this.#over = true;
        this.#outgoing.queue.close();
        this.forceDisconnects.close(this.view.connection.id);
        return this.delivery.emit({ kind: 'sessionDisconnected', reason: next.reason, message: next.message });
      }
      link = next.link;
      // Events of the reply are told before the link starts, and say that there is one.
      this.#transport = link.transport;
      this.#apply(next);
    }
  }

  /** Continues with the gateway's reply: as the same connection, or as another one. */
  #apply({ reply }: OpenedLink): void {
    if (reply.kind === 'resumed') {
      this.#dispatcher.resumed(reply);
    } else {
      this.#dispatcher.joined(reply, true);
      this.view.limits = reply.limits;
      this.view.gateways = reply.gateways;
      this.#dialer.welcomed(reply.gateways);
    }
    this.#outgoing.pace(this.view.limits.signalsPerSecond);
  }

  /** Carries the session until the link ends. */
  async #runLink(link: Link): Promise<Disconnection> {
    const dispatcher = this.#dispatcher;
    const { order } = dispatcher;
    const { promise, resolve } = withResolvers<Disconnection>();
    const endLink = (end: Disconnection, closeWith: ClientCloseReason) => {
      link.close(closeWith);
      resolve(end);
    };
    let leaveTimer: ReturnType<typeof setTimeout> | undefined;
    const scheduleLeave = () => {
      // A client without a ticket stays until the gateway ends the link: leaving would only lose
      // signals in flight.
      if (dispatcher.leaveAt === undefined || !dispatcher.ticket) return;
      const message = 'the gateway is shutting down and asked its clients to reconnect';
      const leave = () => endLink({ reason: 'shuttingDown', message }, 'networkDisconnected');
      clearTimeout(leaveTimer);
      leaveTimer = setTimeout(leave, dispatcher.leaveAt - Date.now());
    };
    const silence = new SilenceWatch(link, this.view.limits.idleTimeoutMs, () =>
      endLink(lost('nothing arrived within the idle timeout'), 'networkDisconnected'),
    );
    const stall = this.#watchForStall(link, endLink);
    this.#link = link;
    this.#silence = silence;
    this.#endLink = endLink;
    link.start({
      control(message) {
        dispatcher.control(message);
        if (message.kind === 'goAway' || message.kind === 'ticket') scheduleLeave();
      },
      open: (stream, from, after) => order.open(stream, from, after),
      signal: (stream, seq, contents) => order.signal(stream, seq, contents),
      end: (stream, reset) => order.end(stream, reset),
      isHeld: (stream) => order.isHeld(stream),
      ended: resolve,
    });
    this.#outgoing.attach(link);
    if (this.#suspension) this.suspend();
    const end = await promise;
    this.#outgoing.detach();
    clearTimeout(leaveTimer);
    clearInterval(stall);
    silence.stop();
    this.#link = this.#transport = this.#silence = this.#endLink = undefined;
    return end;
  }

  /**
   * Some browsers grant few streams, or never more than at first. Then signals of some senders do
   * not arrive; a link with a single stream brings them.
   */
  #watchForStall(link: Link, endLink: (end: Disconnection, closeWith: ClientCloseReason) => void) {
    if (link.transport !== 'webtransport' || this.#dialer.streams === 'single') return undefined;
    let before: string | undefined;
    return setInterval(() => {
      const now = this.#dispatcher.order.waitsFor;
      if (now !== undefined && now === before) {
        this.#dialer.streams = 'single';
        endLink(lost('the stream of a sender did not arrive'), 'networkDisconnected');
      }
      before = now;
    }, STALL_MS);
  }

  /** The link after one that has ended, or why the session is over. */
  async #nextLink(end: Disconnection, transport: Transport): Promise<OpenedLink | Disconnection> {
    const { rejoin } = this.#dialer.options;
    if (end.reason === 'clientDisconnected' && !this.#leaving) {
      // A middlebox has closed the connection in good order.
      end = lost('the connection was closed on the way');
    }
    // Perhaps the browser granted too few streams, so that signals piled up at the gateway.
    const overrun = end.reason === 'slowConsumer' && transport === 'webtransport' && this.#dialer.streams !== 'single';
    if (overrun) this.#dialer.streams = 'single';
    if ((!shouldReconnect(end.reason) && !overrun) || this.#left) return end;
    this.#left = this.#leaving;
    const dispatcher = this.#dispatcher;
    const position = dispatcher.linkLost();
    const { ticket, leaveAt } = dispatcher;
    dispatcher.ticket = dispatcher.leaveAt = undefined;
    const resumable = ticket && position && !overrun ? { ticket, position } : undefined;
    if (!resumable && (this.#left || !rejoin)) return end;
    this.#outgoing.queue.linkLost();
    this.forceDisconnects.linkLost();
    const now = Date.now();
    const spread = jitter(reconnectSpread(end.reason, leaveAt, now));
    if (end.reason === 'shuttingDown') {
      this.#backoff.gatewayRestarts(now);
      this.#dialer.avoidCurrent();
    }
    this.delivery.emit({ kind: 'sessionReconnecting', reason: end.reason, message: end.message });

    const next = this.#leaving ? undefined : await this.#reconnect(spread, resumable);
    if (next && ('link' in next || !this.#leaving)) return next;
    this.#left = true;
    return this.#resumeToLeave(resumable);
  }

  /**
   * Reconnects after a pause: as the same connection while the gateway can resume it, then as another
   * one. `undefined` if the client leaves meanwhile.
   */
  async #reconnect(spreadMs: number, resumable: Resumable | undefined): Promise<OpenedLink | Disconnection | undefined> {
    const { options } = this.#dialer;
    await this.#pause(spreadMs);
    if (resumable) {
      const opening = resume(options, resumable.ticket, resumable.position);
      // The resume window begins when the gateway detects the loss: within its idle timeout, and a
      // third more for the interval of its WebSocket pings.
      const detectionMs = (this.view.limits.idleTimeoutMs * 4) / 3;
      const budgetMs = resumable.ticket.windowMs + detectionMs + this.#backoff.restartTimeLeft(Date.now());
      const back = await this.#attempts(async () => opening, budgetMs, afterRefusedResume);
      if (back !== 'rejoin') return back;
    }
    if (options.rejoin) {
      const opening = async (signal: AbortSignal) =>
        hello(options, await fetchToken(this.#token, TOKEN_TIMEOUT_MS, signal));
      const nextStep = (reason: CloseReason) =>
        reason === 'tokenExpired' && typeof this.#token === 'function' ? 'retry' : afterRefusedHello(reason);
      const back = await this.#attempts(opening, REJOIN_TIMEOUT_MS, nextStep);
      if (back !== 'rejoin') return back;
    }
    return lost('the link was lost, and the client could not reconnect in time');
  }

  /** Tries once to resume, so that the last signals and the goodbye are sent. */
  async #resumeToLeave(resumable: Resumable | undefined): Promise<OpenedLink | Disconnection> {
    try {
      if (resumable) {
        const opening = resume(this.#dialer.options, resumable.ticket, resumable.position);
        return await this.#dialer.open(opening, LEAVE_TIMEOUT_MS, new AbortController().signal);
      }
    } catch {
      // The others see it leave when the gateway's resume window ends.
    }
    return { reason: 'clientDisconnected', message: 'the client left while it had no link' };
  }

  /**
   * Sends an opening until it is answered, within a time that does not include sleep or certain lack
   * of a network. `rejoin` if this opening will not succeed, `undefined` if the client leaves.
   */
  async #attempts(
    opening: (signal: AbortSignal) => Promise<Opening>,
    budgetMs: number,
    nextStep: (reason: CloseReason) => NextStep,
  ): Promise<OpenedLink | Disconnection | 'rejoin' | undefined> {
    const backoff = this.#backoff;
    let spentMs = 0;
    const spend = (since: number, plannedMs: number) => {
      if (!isOffline()) spentMs += Math.min(Date.now() - since, plannedMs + TIMER_SLACK_MS);
    };
    while (!this.#leaving) {
      const pauseMs = Math.min(backoff.nextPause(Date.now()), budgetMs - spentMs);
      const pausedAt = Date.now();
      await this.#pause(pauseMs);
      spend(pausedAt, pauseMs);
      await this.#suspension?.promise;
      if (this.#leaving) return undefined;
      if (spentMs >= budgetMs) return 'rejoin';
      const startedAt = Date.now();
      const controller = new AbortController();
      this.#attempt = { controller, startedAt };
      const timeoutMs = this.#dialer.headStartsMs + backoff.attemptTimeout(startedAt);
      try {
        const ready = await opening(controller.signal);
        return await this.#dialer.open(ready, timeoutMs, controller.signal);
      } catch (error) {
        if (error instanceof ConnectError && error.reason !== undefined) {
          const step = nextStep(error.reason);
          if (step === 'rejoin') return step;
          if (step === 'giveUp') return { reason: error.reason, message: error.message };
          if (error.reason === 'shuttingDown') backoff.gatewayRestarts(Date.now());
        } else if (error instanceof ConnectError && error.code === 'timeout') {
          backoff.attemptTimedOut();
        }
      } finally {
        this.#attempt = undefined;
        spend(startedAt, timeoutMs);
      }
    }
    return undefined;
  }

  /** Waits, but not longer than until there is news. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#nudge = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#nudge = done;
    });
  }
}
