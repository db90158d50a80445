/** The end of an asynchronous call: a callback if one was given, otherwise a promise. */

import type { OpenTokError } from './error.js';
import { reportException } from './report.js';

/** Called once, with an error if the call has failed. */
export type Callback = (error?: OpenTokError | null) => unknown;

/**
 * Calls `callback` once with the outcome of `call`, with `success` as the arguments if there is no
 * error. Without a callback the outcome is that of the returned promise.
 */
export function complete(
  call: Promise<void>,
  callback: Callback | undefined,
  success: [] | [null] = [],
): Promise<void> | undefined {
  if (callback === undefined) {
    // A page that ignores the result must not cause an unhandled rejection. A page that awaits
    // the promise still receives the error.
    call.catch(() => undefined);
    return call;
  }
  const finish = (...outcome: [] | [null] | [OpenTokError]) => {
    try {
      callback(...outcome);
    } catch (exception) {
      reportException(exception);
    }
  };
  call.then(
    () => finish(...success),
    (error: OpenTokError) => finish(error),
  );
  return undefined;
}
