/** A client's link over WebSocket. */

import { ConnectError } from '../error.js';
import { type ClientCloseReason, reasonOfWebSocketCode, webSocketCode } from '../protocol/close.js';
import { type ClientMessage, SUBPROTOCOL, clientMessages, gatewayMessages } from '../protocol/messages.js';
import { Malformed } from '../protocol/postcard.js';
import { type Bye, Link, afterBye } from './link.js';

/** Unsent bytes above which a link waits before it writes more, and how often it looks. */
const HIGH_WATER_BYTES = 256 * 1024;
const DRAIN_POLL_MS = 25;

/** The WebSocket of browsers and of Node 22, or that of the package `ws`. */
async function webSocketClass(): Promise<typeof WebSocket> {
  if (typeof WebSocket !== 'undefined') return WebSocket;
  // Not a literal, so that bundlers do not look for the package.
  const name = 'ws';
  try {
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)).WebSocket;
  } catch (cause) {
    const message = 'this environment has no WebSocket: install the package `ws`, or use Node 22';
    throw new ConnectError('unsupported', message, { cause });
  }
}

/** Connects to a URL. Rejects with a {@link ConnectError}, or with the reason of the signal. */
export async function dialWebSocket(url: string, signal: AbortSignal): Promise<WebSocketLink> {
  const Socket = await webSocketClass();
  signal.throwIfAborted();
  const socket = new Socket(url, SUBPROTOCOL);
  socket.binaryType = 'arraybuffer';
  return new Promise((resolve, reject) => {
    let detail = '';
    const settle = () => signal.removeEventListener('abort', aborted);
    const aborted = () => {
      settle();
      reject(signal.reason);
      socket.close();
    };
    signal.addEventListener('abort', aborted);
    socket.onopen = () => {
      settle();
      if (signal.aborted) return;
      if (socket.protocol === SUBPROTOCOL) return resolve(new WebSocketLink(socket));
      socket.close();
      reject(new ConnectError('protocol', `${url} did not choose the subprotocol ${SUBPROTOCOL}`));
    };
    // Browsers say nothing; `ws` does.
    socket.onerror = (event) => (detail = (event as ErrorEvent).message ?? '');
    socket.onclose = () => {
      settle();
      reject(new ConnectError('unreachable', `cannot reach the gateway at ${url}${detail && `: ${detail}`}`));
    };
  });
}

/** An open WebSocket. */
export class WebSocketLink extends Link {
  readonly transport = 'websocket';
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
    socket.onerror = () => {};
    socket.onmessage = ({ data }) => {
      this.heard();
      this.checked(() => this.#read(data));
    };
    socket.onclose = ({ code, reason: text }) => {
      const reason = reasonOfWebSocketCode(code);
      const message = `the gateway closed the link (${text || code})`;
      this.finish({ reason, message }, 'networkDisconnected');
    };
  }

  #read(data: unknown): void {
    if (!(data instanceof ArrayBuffer)) throw new Malformed('a message of another subprotocol');
    const message = gatewayMessages.decode(new Uint8Array(data));
    // A newer gateway may send messages that this client does not know.
    if (message) this.take(message);
  }

  protected override bye(message: Bye): void {
    this.finish(message, afterBye(message.reason));
  }

  override write(messages: ClientMessage[]): void {
    for (const message of messages) this.#send(clientMessages.encode(message));
  }

  #send(bytes: Uint8Array<ArrayBuffer>): void {
    // A WebSocket that is closing reports its end by itself.
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(bytes);
  }

  override ready(): Promise<unknown> | undefined {
    if (this.#socket.bufferedAmount <= HIGH_WATER_BYTES) return undefined;
    return new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
  }

  protected override closeTransport(reason: ClientCloseReason): void {
    const socket = this.#socket;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close(webSocketCode(reason), reason);
  }
}
