/**
 * A client's link over WebTransport: the control stream, a stream for the client's signals, and a
 * stream for each sender, as over QUIC. Streams are read as they become readable, never one after the
 * other, so that bytes which are late for one sender do not hold up the rest.
 */

import { ConnectError } from '../error.js';
import type { CertificateHash } from '../options.js';
import { type ClientCloseReason, reasonOfWebTransportCode, webTransportCode } from '../protocol/close.js';
import { FrameBuffer, frame } from '../protocol/frame.js';
import {
  type ClientMessage,
  clientMessages,
  clientStream,
  gatewayMessages,
  gatewayStream,
  senderMessages,
} from '../protocol/messages.js';
import { type Bye, type Disconnection, FAREWELL_MS, Link, afterBye, lost, withResolvers } from './link.js';

/** Unsent bytes above which a link waits before it writes more. */
const HIGH_WATER_BYTES = 256 * 1024;

/** How long a stream's error may come ahead of the end of its session, which is then the cause. */
const SESSION_END_MS = 100;

type Chunks = ReadableStreamDefaultReader<Uint8Array>;
type Sink = WritableStreamDefaultWriter<Uint8Array>;

const ignore = () => {};
const delay = (ms: number) => new Promise<undefined>((resolve) => setTimeout(resolve, ms));

/** Connects to a URL. Rejects with a {@link ConnectError}, or with the reason of the signal. */
export async function dialWebTransport(
  url: string,
  hashes: readonly CertificateHash[] | undefined,
  signal: AbortSignal,
): Promise<WebTransportLink> {
  if (typeof WebTransport === 'undefined') {
    throw new ConnectError('unsupported', 'this environment has no WebTransport');
  }
  signal.throwIfAborted();
  let aborted = ignore;
  try {
    const session = new WebTransport(url, {
      congestionControl: 'low-latency',
      ...(hashes && { serverCertificateHashes: [...hashes] }),
    });
    // It rejects along with everything else.
    session.closed.catch(ignore);
    aborted = () => session.close();
    signal.addEventListener('abort', aborted);
    await session.ready;
    return new WebTransportLink(session, await session.createBidirectionalStream());
  } catch (cause) {
    signal.throwIfAborted();
    const message = `cannot reach the gateway at ${url} (UDP): ${(cause as Error).message}`;
    throw new ConnectError('unreachable', message, { cause });
  } finally {
    signal.removeEventListener('abort', aborted);
  }
}

/** An established WebTransport session. */
export class WebTransportLink extends Link {
  readonly transport = 'webtransport';
  readonly #session: WebTransport;
  readonly #controlIn: Chunks;
  readonly #controlOut: Sink;
  #signalsOut: Sink | undefined;
  /** Writes follow each other; this is the last. */
  #writes: Promise<unknown> = Promise.resolve();
  #unsentBytes = 0;
  /** Streams that the gateway has opened, and how many of them are being read. */
  #opened = 0;
  #reading = 0;
  #saidGoodbye = false;
  #bye: Bye | undefined;
  /** Streams that wait until what they hold is due. */
  #parked = new Map<number, () => void>();

  constructor(session: WebTransport, control: { readable: ReadableStream; writable: WritableStream }) {
    super();
    this.#session = session;
    this.#controlIn = control.readable.getReader();
    this.#controlOut = control.writable.getWriter();
    this.#controlOut.closed.catch(ignore);
    void this.#readControl();
  }

  async #readControl(): Promise<void> {
    const buffer = new FrameBuffer();
    try {
      while (await this.#fill(buffer, this.#controlIn)) {
        this.checked(() => {
          for (let bytes; !this.#bye && (bytes = buffer.next()); ) this.#control(bytes);
        });
      }
    } catch {
      // The session knows why.
    }
    if (!this.#bye) this.finish(await this.#sessionEnd(FAREWELL_MS), 'networkDisconnected');
  }

  #control(bytes: Uint8Array): void {
    const message = gatewayMessages.decode(bytes);
    // A newer gateway may send messages that this client does not know.
    if (!message) return;
    this.take(message);
    this.#release();
  }

  protected override bye(message: Bye): void {
    this.#bye = message;
    // Signals may still arrive on as many streams as it says.
    setTimeout(() => this.#farewell(), FAREWELL_MS);
    this.#checkFarewell();
  }

  #checkFarewell(): void {
    if (this.#bye && this.#reading === 0 && this.#opened >= this.#bye.streams) this.#farewell();
  }

  #farewell(): void {
    if (this.#bye) this.finish(this.#bye, afterBye(this.#bye.reason));
  }

  /** Why the session has ended, if that is known within a time. */
  async #sessionEnd(withinMs: number): Promise<Disconnection> {
    const closed = this.#session.closed.then(
      // A gateway that could not send a `bye` closes with its reason.
      ({ closeCode = 0, reason }): Disconnection => ({
        reason: reasonOfWebTransportCode(closeCode),
        message: `the gateway closed the link (${reason || closeCode})`,
      }),
      (error: Error) => lost(error.message),
    );
    return (await Promise.race([closed, delay(withinMs)])) ?? lost('the control stream ended');
  }

  override start(receiver: Parameters<Link['start']>[0]): void {
    super.start(receiver);
    void this.#accept();
  }

  async #accept(): Promise<void> {
    const streams: ReadableStreamDefaultReader<ReadableStream<Uint8Array>> =
      this.#session.incomingUnidirectionalStreams.getReader();
    try {
      for (;;) {
        const { value, done } = await streams.read();
        if (done) return;
        void this.#readSender(this.#opened++, value.getReader());
      }
    } catch {
      // The control stream yields the reason.
    }
  }

  async #readSender(stream: number, chunks: Chunks): Promise<void> {
    this.#reading++;
    try {
      const known = await this.#readSignals(stream, chunks);
      // An unknown kind of stream.
      if (!known) chunks.cancel().catch(ignore);
    } catch {
      // The rest may still arrive on another link, unless the gateway has reset this stream alone.
      if (!(await this.#isOver())) this.#deliver((receiver) => receiver.end(stream, true));
    }
    this.#reading--;
    this.#checkFarewell();
  }

  /** Whether the session has ended, after the error of a stream. */
  #isOver(): Promise<boolean> {
    const over = () => true;
    return Promise.race([this.#session.closed.then(over, over), delay(SESSION_END_MS).then(() => false)]);
  }

  /** Reads a sender's stream to its end. Returns `false` if it is of an unknown kind. */
  async #readSignals(stream: number, chunks: Chunks): Promise<boolean> {
    const buffer = new FrameBuffer();
    let header = false;
    let known = true;
    while (await this.#fill(buffer, chunks)) {
      this.checked(() => {
        for (let bytes; known && (bytes = buffer.next()); header = true) {
          const message = header ? senderMessages.decode(bytes) : gatewayStream.decode(bytes);
          if (message?.kind === 'signal') this.#deliver((it) => it.signal(stream, message.seq, message));
          if (message?.kind === 'sender') this.#deliver((it) => it.open(stream, message.from, message.after));
          known = header || message !== undefined;
        }
      });
      if (!known) return false;
      if (this.receiver?.isHeld(stream)) {
        const { promise, resolve } = withResolvers<void>();
        this.#parked.set(stream, resolve);
        await promise;
      }
    }
    this.#deliver((receiver) => receiver.end(stream, false));
    return true;
  }

  #deliver(what: (receiver: NonNullable<Link['receiver']>) => void): void {
    if (this.receiver) what(this.receiver);
    this.#release();
  }

  /** Reads on from streams that wait no more. */
  #release(): void {
    for (const [stream, resume] of this.#parked) {
      if (this.receiver?.isHeld(stream)) continue;
      this.#parked.delete(stream);
      resume();
    }
  }

  /** Reads more of a stream; `false` at its end. */
  async #fill(buffer: FrameBuffer, chunks: Chunks): Promise<boolean> {
    const { value, done } = await chunks.read();
    if (done) {
      this.checked(() => buffer.finish());
      return false;
    }
    this.heard();
    buffer.push(value);
    return true;
  }

  override write(messages: ClientMessage[]): void {
    for (const message of messages) {
      const bytes = frame(clientMessages.encode(message));
      const isSignal = message.kind === 'signal';
      this.#send(bytes, () => (isSignal ? this.#signals() : this.#controlOut));
      if (message.kind !== 'goodbye') continue;
      this.#saidGoodbye = true;
      this.#enqueue(() => this.#signalsOut?.close());
    }
  }

  override ready(): Promise<unknown> | undefined {
    return this.#unsentBytes > HIGH_WATER_BYTES ? this.#writes : undefined;
  }

  #send(bytes: Uint8Array, to: () => Sink | Promise<Sink>): void {
    this.#unsentBytes += bytes.length;
    this.#enqueue(async () => {
      const sink = await to();
      await sink.write(bytes);
      this.#unsentBytes -= bytes.length;
    });
  }

  /** Writes after all that was written before. Errors end the reading half, too, which knows why. */
  #enqueue(write: () => unknown): void {
    this.#writes = this.#writes.then(write).catch(ignore);
  }

  /** The stream of the client's signals; opened with the first. */
  async #signals(): Promise<Sink> {
    if (!this.#signalsOut) {
      const stream: WritableStream<Uint8Array> = await this.#session.createUnidirectionalStream();
      this.#signalsOut = stream.getWriter();
      this.#signalsOut.closed.catch(ignore);
      await this.#signalsOut.write(frame(clientStream.encode({ kind: 'signals' })));
    }
    return this.#signalsOut;
  }

  protected override closeTransport(reason: ClientCloseReason): void {
    this.#parked.forEach((resume) => resume());
    this.#parked.clear();
    const close = () => {
      try {
        this.#session.close({ closeCode: webTransportCode(reason), reason });
      } catch {
        // It has ended already.
      }
    };
    // Firefox's `close` discards what was written just before. If the page is gone by then, the browser
    // has sent the goodbye and closed the session.
    if (this.#saidGoodbye && !this.#bye) setTimeout(close, FAREWELL_MS);
    else close();
  }
}
