/** Limits in time. */

/**
 * Runs something with a signal that aborts with `timeout` after a time, or when `signal` does.
 * Rejects as soon as it aborts, even if what runs does not heed it.
 */
export async function within<T>(
  ms: number,
  timeout: Error,
  signal: AbortSignal,
  run: (limit: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(timeout), ms);
  const aborted = () => limit.abort(signal.reason);
  signal.addEventListener('abort', aborted);
  try {
    if (signal.aborted) throw signal.reason;
    return await new Promise<T>((resolve, reject) => {
      limit.signal.addEventListener('abort', () => reject(limit.signal.reason));
      Promise.resolve(run(limit.signal)).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', aborted);
  }
}
