/** The events that a client has received, for tests that wait for one. */

const DEADLINE_MS = 20_000;

export class EventLog {
  /** All events, in order. */
  all = [];
  #name;
  #waiting = new Set();

  constructor(name) {
    this.#name = name;
  }

  push(event) {
    this.all.push(event);
    for (const check of [...this.#waiting]) check();
  }

  /** The first event, past or future, that the predicate accepts. */
  first(accepts, timeoutMs) {
    let next = 0;
    return this.until((all) => {
      while (next < all.length) {
        const event = all[next++];
        if (accepts(event)) return event;
      }
      return undefined;
    }, timeoutMs, accepts);
  }

  /** The first event of a kind that has all of these members. */
  next(kind, members = {}, timeoutMs) {
    const accepts = (event) =>
      event.kind === kind && Object.entries(members).every(([name, value]) => event[name] === value);
    return this.first(accepts, timeoutMs).catch((error) => {
      error.message = `${kind} ${JSON.stringify(members)}: ${error.message}`;
      throw error;
    });
  }

  /** The event that announces a connection. */
  created(id) {
    return this.first((event) => event.kind === 'connectionCreated' && event.connection.id === id);
  }

  /** The event that tells of a connection's end. */
  destroyed(id) {
    return this.first((event) => event.kind === 'connectionDestroyed' && event.connection.id === id);
  }

  /** What the function makes of all events, as soon as that is truthy. It is called after each event. */
  until(of, timeoutMs = DEADLINE_MS, shown = of) {
    const { promise, resolve, reject } = withResolvers();
    const check = () => {
      const result = of(this.all);
      if (!result) return;
      stop();
      resolve(result);
    };
    const stop = () => {
      this.#waiting.delete(check);
      clearTimeout(timer);
    };
    const timer = setTimeout(() => {
      stop();
      const signals = this.of('signal');
      const others = this.all.filter((event) => event.kind !== 'signal');
      const last = [...others, ...signals.slice(-5)].map((event) => JSON.stringify(event)).join('\n  ');
      const events = `its events, the last 5 of ${signals.length} signals among them:\n  ${last}`;
      reject(new Error(`${this.#name} waited ${timeoutMs} ms in vain for ${shown}; ${events}`));
    }, timeoutMs);
    this.#waiting.add(check);
    check();
    return promise;
  }

  of(kind) {
    return this.all.filter((event) => event.kind === kind);
  }

  /** The signals of one connection. */
  signalsOf(sender) {
    return this.all.filter((event) => event.kind === 'signal' && event.from === sender);
  }

  /** Waits for a number of further signals of one connection. */
  async more(sender, count) {
    await this.dataOf(sender, this.signalsOf(sender).length + count);
  }

  /** Waits for a number of signals of one connection, and returns their data. */
  async dataOf(sender, count, timeoutMs) {
    await this.until(() => this.signalsOf(sender).length >= count, timeoutMs, `${count} signals of ${sender}`);
    return this.signalsOf(sender).map(({ data }) => data);
  }
}

export function withResolvers() {
  let resolve, reject;
  const promise = new Promise((res, rej) => ([resolve, reject] = [res, rej]));
  return { promise, resolve, reject };
}
