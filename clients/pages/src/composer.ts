/** The form that sends signals. */

import type { Session } from '../../typescript/src/index.js';
import { byId, setText } from './dom.js';
import { count, milliseconds } from './format.js';
import { BURST_TYPE, type SignalLog } from './log.js';

/** Sends what is typed, and bursts. */
export class Composer {
  readonly #log: SignalLog;
  readonly #data = byId<HTMLInputElement>('data');
  readonly #controls = [byId<HTMLButtonElement>('send'), byId<HTMLButtonElement>('burst')];
  #session: Session | undefined;
  #pending = 0;

  constructor(log: SignalLog) {
    this.#log = log;
    byId<HTMLFormElement>('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#sendTyped();
    });
    byId('burst').addEventListener('click', () => void this.#sendBurst());
    byId('skip').addEventListener('click', () => this.#data.focus());
  }

  /** Sends in this session; `undefined` when there is none. */
  show(session: Session | undefined): void {
    this.#session = session;
    for (const control of this.#controls) control.disabled = session === undefined;
  }

  #sendTyped(): void {
    const session = this.#session;
    if (!session) return;
    const type = byId<HTMLInputElement>('type').value || undefined;
    const to = byId<HTMLSelectElement>('to').value || undefined;
    const data = this.#data.value;
    const own = session.connection.id;
    this.#data.value = '';
    this.#data.focus();
    this.#track(session.signal({ type, to, data })).then(
      () => to && to !== own && this.#log.sentTo(to, own, type, data),
      (error: Error) => this.#log.note('bad', `Not sent: ${error.message}.`),
    );
  }

  async #sendBurst(): Promise<void> {
    const session = this.#session;
    if (!session) return;
    const size = Number(byId<HTMLSelectElement>('burst-size').value);
    const to = byId<HTMLSelectElement>('to').value || undefined;
    const startedAt = performance.now();
    const sent = Array.from({ length: size }, (_, index) =>
      this.#track(session.signal({ type: BURST_TYPE, to, data: `${index + 1} of ${size}` })),
    );
    try {
      await Promise.all(sent);
      const took = performance.now() - startedAt;
      const rate = Math.round((size * 1000) / took).toLocaleString('en');
      this.#log.note('plain', `The gateway accepted ${count(size, 'signal')} in ${milliseconds(took)} (${rate} a second).`);
    } catch (error) {
      this.#log.note('bad', `The burst failed: ${(error as Error).message}.`);
    }
  }

  /** Counts the signals that wait for the gateway. */
  #track(signal: Promise<void>): Promise<void> {
    this.#change(1);
    return signal.finally(() => this.#change(-1));
  }

  #change(by: number): void {
    this.#pending += by;
    setText(byId('pending'), this.#pending === 0 ? '' : `${count(this.#pending, 'signal')} to be confirmed`);
  }
}
