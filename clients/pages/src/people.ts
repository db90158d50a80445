/** The other connections in the session. */

import type { ConnectionInfo, Session } from '../../typescript/src/index.js';
import { avatar, idText } from './avatar.js';
import { byId, element, foreign, setText } from './dom.js';
import { count, shortId, timeOfDay } from './format.js';

/** Rows that are shown. A session may have thousands of members. */
const ROWS = 50;

/** Shows who is in the session. */
export class People {
  readonly #list = byId('people');
  readonly #to = byId<HTMLSelectElement>('to');
  readonly #disconnect: (id: string) => void;

  /** `disconnect` is called when somebody is to be disconnected. */
  constructor(disconnect: (id: string) => void) {
    this.#disconnect = disconnect;
  }

  /** Shows this session; `undefined` when there is none. */
  show(session: Session | undefined): void {
    const others = session?.connections ?? [];
    this.#showRows(others, session?.role === 'moderator');
    this.#showReceivers(others);
    byId('nobody').hidden = others.length > 0;
    setText(byId('tile-here'), session ? String(others.length + 1) : '–');
    setText(byId('tile-here-detail'), others.length === 0 ? 'nobody else' : `you and ${count(others.length, 'other')}`);
  }

  #showRows(others: readonly ConnectionInfo[], canDisconnect: boolean): void {
    const rows = new Map<string, HTMLElement>();
    for (const row of this.#list.querySelectorAll<HTMLElement>('li[data-id]')) rows.set(row.dataset.id ?? '', row);
    const shown = others.slice(0, ROWS).map((it) => rows.get(it.id) ?? this.#row(it, canDisconnect));
    const more = others.length - shown.length;
    // Rows that stay are not replaced, so that one of their buttons keeps the focus.
    for (const [id, row] of rows) if (!others.slice(0, ROWS).some((it) => it.id === id)) row.remove();
    this.#list.querySelector('li.more')?.remove();
    for (const row of shown) if (!row.isConnected) this.#list.append(row);
    if (more > 0) this.#list.append(element('li', { class: 'more hint' }, `and ${count(more, 'other')}`));
  }

  #row(other: ConnectionInfo, canDisconnect: boolean): HTMLElement {
    const row = element('li', { class: 'person', 'data-id': other.id }, avatar(other.id), description(other));
    if (canDisconnect) {
      const label = `Disconnect ${shortId(other.id)}`;
      const button = element('button', { type: 'button', class: 'quiet danger', 'aria-label': label }, 'Disconnect');
      button.addEventListener('click', () => this.#disconnect(other.id));
      row.append(button);
    }
    return row;
  }

  #showReceivers(others: readonly ConnectionInfo[]): void {
    const chosen = this.#to.value;
    const options = others.slice(0, ROWS).map(({ id }) => new Option(`Only ${shortId(id)}`, id, false, id === chosen));
    this.#to.replaceChildren(new Option('Everyone', ''), ...options);
  }
}

/** What is known about a connection. */
export function description({ id, data, createdAt }: ConnectionInfo): HTMLElement {
  const joined = element('time', { datetime: new Date(createdAt).toISOString() }, timeOfDay(createdAt));
  const about = data === '' ? [] : [element('span', { class: 'detail' }, foreign(data))];
  const since = element('span', { class: 'detail' }, ' since ', joined);
  return element('span', { class: 'about' }, element('span', { class: 'name' }, idText(id), since), ...about);
}
