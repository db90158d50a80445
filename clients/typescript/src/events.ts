/** The delivery of events to listeners and iterators. */

import { SignalboxError, disconnected } from './error.js';
import type { SessionEvent, SessionEvents } from './event.js';

/** Events that may wait for an iterator. */
const ITERATOR_QUEUE = 16_384;

type Listener = (event: never) => void;

/**
 * Delivers events. Until the task in which it was made has run, they wait, so that an application
 * misses none if it adds its listeners right after `await connect()`.
 */
export class EventDelivery<E> {
  readonly #apply: (event: E) => SessionEvent | undefined;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #iterators = new Set<EventIterator>();
  #waiting: E[] | undefined = [];
  #over = false;

  /** `apply` turns an event into that of the application, when it is delivered. */
  constructor(apply: (event: E) => SessionEvent | undefined) {
    this.#apply = apply;
    afterThisTask(() => {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      for (const event of waiting) this.#deliver(event);
    });
  }

  emit(event: E): void {
    if (this.#waiting) this.#waiting.push(event);
    else this.#deliver(event);
  }

  on<K extends keyof SessionEvents>(name: K, listener: (event: SessionEvents[K]) => void): () => void {
    let listeners = this.#listeners.get(name);
    if (!listeners) this.#listeners.set(name, (listeners = new Set()));
    listeners.add(listener);
    return () => this.off(name, listener);
  }

  off<K extends keyof SessionEvents>(name: K, listener: (event: SessionEvents[K]) => void): void {
    const listeners = this.#listeners.get(name);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(name);
  }

  once<K extends keyof SessionEvents>(name: K): Promise<SessionEvents[K]> {
    const promise = new Promise<SessionEvents[K]>((resolve, reject) => {
      if (this.#over) return reject(disconnected());
      const done = () => {
        stop();
        // The last event is delivered to the listeners of its own name first.
        stopEnd();
        reject(disconnected());
      };
      const stop = this.on(name, (event) => {
        stop();
        stopEnd();
        resolve(event);
      });
      const stopEnd = this.on('sessionDisconnected', done);
    });
    return handled(promise);
  }

  iterate(): AsyncIterableIterator<SessionEvent> {
    const iterator = new EventIterator(() => this.#iterators.delete(iterator));
    if (this.#over) iterator.end();
    else this.#iterators.add(iterator);
    return iterator;
  }

  #deliver(internal: E): void {
    const event = this.#apply(internal);
    if (!event) return;
    this.#call(event.kind, event);
    if (event.kind === 'signal' && event.type !== undefined) this.#call(`signal:${event.type}`, event);
    for (const iterator of [...this.#iterators]) iterator.push(event);
    if (event.kind !== 'sessionDisconnected') return;
    this.#over = true;
    this.#listeners.clear();
    for (const iterator of this.#iterators) iterator.end();
    this.#iterators.clear();
  }

  #call(name: string, event: SessionEvent): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(event as never);
      } catch (error) {
        // As with the listeners of an EventTarget, it must not disturb the others.
        report(error);
      }
    }
  }
}

/** One consumer of all events, at its own pace up to a bound. */
class EventIterator implements AsyncIterableIterator<SessionEvent> {
  readonly #onReturn: () => void;
  #queue: SessionEvent[] = [];
  #pulls: { resolve(result: IteratorResult<SessionEvent>): void; reject(error: unknown): void }[] = [];
  #over = false;
  #error: SignalboxError | undefined;

  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  push(event: SessionEvent): void {
    const pull = this.#pulls.shift();
    if (pull) return pull.resolve({ value: event, done: false });
    if (this.#queue.length < ITERATOR_QUEUE) {
      this.#queue.push(event);
      return;
    }
    const message = `more than ${ITERATOR_QUEUE} events wait for an iterator that is too slow`;
    this.#error = new SignalboxError('overflow', message);
    this.end();
    this.#onReturn();
  }

  end(): void {
    this.#over = true;
    for (const pull of this.#pulls.splice(0)) pull.resolve({ value: undefined, done: true });
  }

  next(): Promise<IteratorResult<SessionEvent>> {
    const value = this.#queue.shift();
    if (value) return Promise.resolve({ value, done: false });
    const error = this.#error;
    this.#error = undefined;
    if (error) return Promise.reject(error);
    if (this.#over) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => this.#pulls.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<SessionEvent>> {
    this.#queue = [];
    this.end();
    this.#onReturn();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** A promise that may be ignored without counting as an unhandled rejection. */
export function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Runs in a task of its own. Unlike a timer's, it is not delayed in hidden tabs. */
function afterThisTask(run: () => void): void {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(undefined);
}

/** Reports an error of the application as uncaught. */
function report(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else queueMicrotask(() => {
    throw error;
  });
}
