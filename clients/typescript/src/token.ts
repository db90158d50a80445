/** The token of a join. */

import { ConnectError } from './error.js';
import { within } from './limit.js';
import type { TokenProvider } from './options.js';
import { TOKEN_BYTES } from './protocol/messages.js';

/** Asks for a token. Rejects with a {@link ConnectError}, or with the reason of the signal. */
export async function fetchToken(
  token: string | TokenProvider,
  withinMs: number,
  signal: AbortSignal,
): Promise<string> {
  const timeout = new ConnectError('token', 'the token provider gave no token in time');
  const text = await within<unknown>(withinMs, timeout, signal, async () => {
    try {
      return typeof token === 'function' ? await token() : token;
    } catch (cause) {
      throw new ConnectError('token', 'the token provider failed', { cause });
    }
  });
  if (typeof text !== 'string' || text === '' || text.length > TOKEN_BYTES) {
    throw new ConnectError('token', `a token must be a text of 1 to ${TOKEN_BYTES} bytes`);
  }
  return text;
}
