/** The W3C's WebTransport without a network: a session whose gateway is the test. */

import { FrameBuffer, frame } from '../src/protocol/frame.js';
import { clientMessages, clientStream, gatewayMessages, gatewayStream, senderMessages } from '../src/protocol/messages.js';
import type { ClientMessage, GatewayMessage, Sender } from '../src/protocol/messages.js';

class SessionError extends Error {
  constructor(readonly source: 'stream' | 'session') {
    super(`${source} error`);
  }
}

/** A stream of a sender, at the gateway's end. */
export class SenderStream {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #controller: ReadableStreamDefaultController<Uint8Array>;
  cancelled = false;

  /** Chunks that the client has not read. */
  get unread(): number {
    return 1 - (this.#controller.desiredSize ?? 0);
  }

  constructor(session: FakeWebTransport) {
    let controller!: ReadableStreamDefaultController<Uint8Array>;
    const readable = new ReadableStream<Uint8Array>({
      start: (it) => void (controller = it),
      cancel: () => void (this.cancelled = true),
    });
    this.#controller = controller;
    this.#writer = new WritableStream<Uint8Array>({
      write: (chunk) => controller.enqueue(chunk),
      close: () => controller.close(),
    }).getWriter();
    session.incoming.enqueue(readable);
    session.streams.push(this);
  }

  header(from: Sender, after = 0): this {
    return this.bytes(frame(gatewayStream.encode({ kind: 'sender', from, after })));
  }

  signal(seq: number, data = String(seq)): this {
    return this.bytes(frame(senderMessages.encode({ kind: 'signal', seq, type: null, data })));
  }

  bytes(bytes: Uint8Array): this {
    void this.#writer.write(bytes);
    return this;
  }

  end(): void {
    void this.#writer.close();
  }

  reset(source: 'stream' | 'session' = 'stream'): void {
    this.#controller.error(new SessionError(source));
  }
}

/** A session; `FakeWebTransport.sessions` has those that the client has made. */
export class FakeWebTransport {
  static sessions: FakeWebTransport[] = [];
  /** Whether sessions are established at once. */
  static answers = true;

  readonly ready: Promise<void>;
  readonly closed: Promise<{ closeCode?: number; reason?: string }>;
  incoming!: ReadableStreamDefaultController<ReadableStream<Uint8Array>>;
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly streams: SenderStream[] = [];
  /** What the client has said: on the control stream, and on its stream of signals. */
  readonly control: ClientMessage[] = [];
  readonly signals: ClientMessage[] = [];
  signalsEnded = false;
  unknown = 0;
  closeInfo: { closeCode?: number; reason?: string } | undefined;
  #controlIn!: ReadableStreamDefaultController<Uint8Array>;
  #establish!: () => void;
  #fail!: (error: unknown) => void;
  #close!: (info: { closeCode?: number; reason?: string }) => void;
  #lose!: (error: unknown) => void;
  #over = false;

  constructor(
    readonly url: string,
    readonly options: Record<string, unknown>,
  ) {
    FakeWebTransport.sessions.push(this);
    this.ready = new Promise((resolve, reject) => {
      this.#establish = resolve;
      this.#fail = reject;
    });
    this.closed = new Promise((resolve, reject) => {
      this.#close = resolve;
      this.#lose = reject;
    });
    this.incomingUnidirectionalStreams = new ReadableStream({ start: (it) => void (this.incoming = it) });
    if (FakeWebTransport.answers) this.#establish();
  }

  createBidirectionalStream(): Promise<{ readable: ReadableStream; writable: WritableStream }> {
    return Promise.resolve({
      readable: new ReadableStream<Uint8Array>({ start: (it) => void (this.#controlIn = it) }),
      writable: this.#collect(this.control),
    });
  }

  createUnidirectionalStream(): Promise<WritableStream> {
    return Promise.resolve(this.#collect(this.signals, true));
  }

  #collect(into: ClientMessage[], headed = false): WritableStream<Uint8Array> {
    const buffer = new FrameBuffer();
    let header = headed;
    return new WritableStream({
      write: (chunk) => {
        buffer.push(chunk);
        for (let bytes; (bytes = buffer.next()); header = false) {
          const message = header ? clientStream.decode(bytes) && undefined : clientMessages.decode(bytes);
          if (message) into.push(message);
          else if (!header) this.unknown++;
        }
      },
      close: () => void (this.signalsEnded = true),
    });
  }

  /** The gateway says something on the control stream; all in one chunk. */
  say(...messages: GatewayMessage[]): void {
    const frames = messages.map((it) => frame(gatewayMessages.encode(it)));
    this.bytes(Buffer.concat(frames));
  }

  bytes(bytes: Uint8Array): void {
    this.#controlIn.enqueue(bytes);
  }

  /** The client, or the gateway, closes the session. */
  close(info: { closeCode?: number; reason?: string } = {}): void {
    if (this.#over) return;
    this.#over = true;
    this.closeInfo = info;
    this.#fail(new SessionError('session'));
    this.#close(info);
    this.#breakStreams();
  }

  /** The network fails. As in Chromium, senders' streams break first. */
  lose(): void {
    this.#over = true;
    this.#fail(new SessionError('session'));
    this.#breakStreams();
    this.#lose(new SessionError('session'));
  }

  #breakStreams(): void {
    const error = new SessionError('session');
    for (const stream of this.streams) stream.reset('session');
    this.#controlIn?.error(error);
    this.incoming.error(error);
  }
}

/** Makes this process look like a browser with WebTransport. */
export function installWebTransport(context: { after(fn: () => unknown): void }): typeof FakeWebTransport {
  FakeWebTransport.sessions = [];
  FakeWebTransport.answers = true;
  (globalThis as { WebTransport?: unknown }).WebTransport = FakeWebTransport;
  context.after(() => delete (globalThis as { WebTransport?: unknown }).WebTransport);
  return FakeWebTransport;
}
