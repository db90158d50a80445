/** In the page: the browser's WebTransport without the SDK, for input that the SDK never makes. */

import { FrameBuffer, frame } from '/sdk/protocol/frame.js';
import { clientMessages, clientStream, gatewayMessages } from '/sdk/protocol/messages.js';

export const SIGNALS = frame(clientStream.encode({ kind: 'signals' }));
export const PING = frame(clientMessages.encode({ kind: 'signal', to: null, type: null, data: null }));
/** A message of a kind that does not exist. */
export const UNKNOWN = Uint8Array.of(5, 0xc8, 1, 9, 9, 9);
export const GOODBYE = frame(clientMessages.encode({ kind: 'goodbye', signals: 0 }));

export function hello(token) {
  const features = ['presence', 'resume'];
  return frame(clientMessages.encode({ kind: 'hello', token, features, streams: 'perSender', agent: 'raw' }));
}

/** A session whose control stream is open. */
export class RawSession {
  session;
  control;
  #chunks;
  #buffer = new FrameBuffer();

  static async open(url, certificateHash) {
    const raw = new RawSession();
    const value = new Uint8Array(certificateHash);
    raw.session = new WebTransport(url, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
    raw.session.closed.catch(() => {});
    await raw.session.ready;
    const { readable, writable } = await raw.session.createBidirectionalStream();
    raw.control = writable.getWriter();
    raw.control.closed.catch(() => {});
    raw.#chunks = readable.getReader();
    return raw;
  }

  /** Joins with this token. */
  async join(token) {
    await this.control.write(hello(token));
    await this.next('welcome');
  }

  /** A stream towards the gateway, with these bytes. */
  async uni(bytes) {
    const writer = (await this.session.createUnidirectionalStream()).getWriter();
    writer.closed.catch(() => {});
    await writer.write(bytes);
    return writer;
  }

  /** The next message of a kind on the control stream. */
  async next(kind) {
    for (;;) {
      for (let bytes; (bytes = this.#buffer.next()); ) {
        const message = gatewayMessages.decode(bytes);
        if (message?.kind === kind) return message;
      }
      const { value, done } = await this.#chunks.read();
      if (done) throw new Error(`the control stream ended before ${kind}`);
      this.#buffer.push(value);
    }
  }

  /** Stops reading the control stream. */
  cancel() {
    return this.#chunks.cancel();
  }

  /** How the session has ended. */
  async end() {
    const { closeCode, reason } = await this.session.closed;
    return { closeCode, reason };
  }
}
