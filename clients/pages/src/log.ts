/** The log: signals, and what happens in the session, oldest first. */

import type { SignalReceived } from '../../typescript/src/index.js';
import { avatar, idText, serverAvatar } from './avatar.js';
import { byId, element, foreign, setText } from './dom.js';
import { timeOfDay } from './format.js';

/** Entries that are kept. */
const ENTRIES = 500;

/** The type of signals that the page sends in bursts. They share an entry. */
export const BURST_TYPE = 'burst';

/** A burst that arrives. */
interface RunningBurst {
  sender: string;
  signals: number;
  text: HTMLElement;
}

/** What a note is about; it selects the mark. */
export type NoteKind = 'here' | 'gone' | 'good' | 'bad' | 'plain';

/** The log of this page. */
export class SignalLog {
  readonly #list = byId('log');
  #burst: RunningBurst | undefined;

  constructor() {
    byId('clear').addEventListener('click', () => this.clear());
    this.clear();
  }

  /** Removes all entries. */
  clear(): void {
    this.#burst = undefined;
    this.#list.replaceChildren();
  }

  /** A signal has arrived. */
  received({ from, type, data }: SignalReceived, own: string | undefined): void {
    const sender = from.connectionId ?? `server ${from.server}`;
    if (type === BURST_TYPE && this.#burst?.sender === sender) {
      this.#burst.signals++;
      return setText(this.#burst.text, burstText(this.#burst.signals));
    }
    const who =
      from.connectionId === undefined
        ? [serverAvatar(), element('span', { class: 'who' }, 'a server')]
        : [avatar(from.connectionId), whoText(from.connectionId, own)];
    if (type === BURST_TYPE) {
      const text = element('span', { class: 'data' }, burstText(1));
      this.#add('signal', [...who, typeText(type), text]);
      this.#burst = { sender, signals: 1, text };
      return;
    }
    const contents = data === undefined ? element('i', { class: 'data empty' }, 'no data') : dataText(data);
    this.#add('signal', [...who, ...(type ? [typeText(type)] : []), contents]);
  }

  /** A signal of this client to another has been accepted; only the other receives it. */
  sentTo(to: string, own: string, type: string | undefined, data: string): void {
    const who = element('span', { class: 'who' }, 'you to ', idText(to));
    this.#add('signal private', [avatar(own), who, ...(type ? [typeText(type)] : []), dataText(data)]);
  }

  /** Something has happened. */
  note(kind: NoteKind, ...contents: (Node | string)[]): void {
    this.#add(`note ${kind}`, [element('span', { class: 'mark', 'aria-hidden': 'true' }), element('span', {}, ...contents)]);
  }

  #add(kind: string, contents: Node[]): void {
    this.#burst = undefined;
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const now = Date.now();
    const time = element('time', { datetime: new Date(now).toISOString() }, timeOfDay(now));
    list.append(element('div', { class: `entry ${kind}` }, time, ...contents));
    while (list.childElementCount > ENTRIES) list.firstElementChild?.remove();
    // Somebody who reads further up is not disturbed.
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function whoText(id: string, own: string | undefined): HTMLElement {
  return element('span', { class: 'who' }, id === own ? 'you' : idText(id));
}

function typeText(type: string): HTMLElement {
  return element('span', { class: 'type' }, foreign(type));
}

function dataText(data: string): HTMLElement {
  return element('span', { class: 'data' }, foreign(data));
}

function burstText(signals: number): string {
  return signals === 1 ? '1 signal' : `${signals.toLocaleString('en')} signals`;
}
