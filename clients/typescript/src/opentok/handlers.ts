/**
 * Event handlers as OpenTok.js registers them: by one name, by several names in a string, or by an
 * object of names and functions, each with an optional context.
 */

import { reportException } from './report.js';

/** A function that receives events. Its `this` is the context it was registered with. */
// Handlers of pages are typed by the event they expect, so the parameter cannot be narrower.
export type Handler = (event: any) => unknown;

/** Handlers by the name of the event. */
export type HandlerMap = Readonly<Record<string, Handler>>;

interface Registration {
  readonly handler: Handler;
  readonly context: unknown;
  readonly once: boolean;
}

/** Registers handlers and calls them. */
export class EventDispatcher {
  readonly #registrations = new Map<string, Registration[]>();

  /** Calls `handler` for each event of these names. Returns this object. */
  on(names: string, handler: Handler, context?: unknown): this;
  on(handlers: HandlerMap, context?: unknown): this;
  on(names: string | HandlerMap, ...rest: unknown[]): this {
    this.#add(entries(names, rest), false);
    return this;
  }

  /** Calls `handler` for the next event of each of these names. Returns this object. */
  once(names: string, handler: Handler, context?: unknown): this;
  once(handlers: HandlerMap, context?: unknown): this;
  once(names: string | HandlerMap, ...rest: unknown[]): this {
    this.#add(entries(names, rest), true);
    return this;
  }

  /**
   * Removes handlers: all without an argument, all of an event without a handler, and otherwise
   * those that were registered with this handler and, if it is given, this context.
   */
  off(names?: string, handler?: Handler, context?: unknown): this;
  off(handlers: HandlerMap, context?: unknown): this;
  off(names?: string | HandlerMap, ...rest: unknown[]): this {
    if (names === undefined) {
      this.#registrations.clear();
      return this;
    }
    for (const { name, handler, context } of entries(names, rest)) {
      const kept = (this.#registrations.get(name) ?? []).filter(
        (registration) =>
          handler !== undefined &&
          (registration.handler !== handler ||
            (context !== undefined && registration.context !== context)),
      );
      this.#replace(name, kept);
    }
    return this;
  }

  /** The older name of `on`. */
  addEventListener(name: string, handler: Handler, context?: unknown): this {
    return this.on(name, handler, context);
  }

  /** The older name of `off`. */
  removeEventListener(name: string, handler: Handler, context?: unknown): this {
    return this.off(name, handler, context);
  }

  /** Calls the handlers of `name`. An exception of one does not reach the others or the caller. */
  protected dispatch(name: string, event: unknown): void {
    // Handlers may register and remove handlers; an event goes to those registered before it.
    for (const registration of [...(this.#registrations.get(name) ?? [])]) {
      if (registration.once) {
        const left = this.#registrations.get(name) ?? [];
        if (!left.includes(registration)) {
          continue;
        }
        this.#replace(
          name,
          left.filter((other) => other !== registration),
        );
      }
      try {
        registration.handler.call(registration.context, event);
      } catch (exception) {
        reportException(exception);
      }
    }
  }

  #add(added: Entry[], once: boolean): void {
    for (const { name, handler, context } of added) {
      if (typeof handler !== 'function') {
        throw new TypeError(`the handler of the event '${name}' must be a function`);
      }
      this.#replace(name, [...(this.#registrations.get(name) ?? []), { handler, context, once }]);
    }
  }

  #replace(name: string, registrations: Registration[]): void {
    if (registrations.length === 0) {
      this.#registrations.delete(name);
    } else {
      this.#registrations.set(name, registrations);
    }
  }
}

interface Entry {
  readonly name: string;
  readonly handler: Handler | undefined;
  readonly context: unknown;
}

function entries(names: string | HandlerMap, rest: unknown[]): Entry[] {
  if (typeof names === 'string') {
    const [handler, context] = rest as [Handler | undefined, unknown];
    const separate = names.split(/\s+/).filter((name) => name !== '');
    return separate.map((name) => ({ name, handler, context }));
  }
  return Object.entries(names).map(([name, handler]) => ({ name, handler, context: rest[0] }));
}
