/** Connecting: from a URL and a token to a session. */

import { Dialer } from './dial.js';
import { ConnectError } from './error.js';
import { hello } from './opening.js';
import { type ConnectOptions, type TokenProvider, resolveOptions } from './options.js';
import { type Session, startSession } from './session.js';
import { fetchToken } from './token.js';

/**
 * Joins the session that the token names.
 *
 * `https://HOST[:PORT]` is WebTransport, raced with WebSocket; `wss://` is WebSocket alone, and
 * `http://` or `ws://` WebSocket without TLS. The port is 4433 unless the URL names another.
 *
 * Several URLs are several gateways, in order of preference. One that fails, or shuts down, is
 * passed over at once. A reconnect begins with the gateway and transport that answered last, or, if
 * that gateway shuts down, with the other ones.
 *
 * Resolves when the session is joined. Listeners that are added right after that miss no event.
 * Rejects with a {@link ConnectError}, or with the reason of `options.signal`; then nothing is left
 * open.
 *
 * ```ts
 * const session = await connect('https://signal.example.com', token);
 * session.on('signal:chat', ({ from, data }) => console.log(from.connection?.data, data));
 * await session.signal({ type: 'chat', data: 'hello, everyone' });
 * ```
 */
export async function connect(
  url: string | readonly string[],
  token: string | TokenProvider,
  options: ConnectOptions = {},
): Promise<Session> {
  const resolved = resolveOptions(options);
  const dialer = new Dialer(url, resolved);
  const signal = options.signal ?? new AbortController().signal;
  signal.throwIfAborted();
  const startedAt = Date.now();
  const text = await fetchToken(token, resolved.timeoutMs, signal);
  const remainingMs = Math.max(0, resolved.timeoutMs - (Date.now() - startedAt));
  const { link, reply } = await dialer.open(hello(resolved, text), remainingMs, signal);
  if (signal.aborted) {
    link.close('clientDisconnected');
    throw signal.reason;
  }
  if (reply.kind !== 'welcome') {
    link.close('protocolError');
    throw new ConnectError('protocol', 'the gateway answered hello with resumed');
  }
  return startSession(dialer, token, reply, link);
}
