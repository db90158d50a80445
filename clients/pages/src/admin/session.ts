/** One session: its connections on this gateway, and what can be done with them. */

import { avatar, idText } from '../avatar.js';
import { byId, element, foreign, setText } from '../dom.js';
import { bytes, count, date, duration, milliseconds, number, shortId, timeOfDay, transportName } from '../format.js';
import { type ConnectionItem, RequestError, type SessionDetails, type TokenMatcher, change, load, query, sessionPath } from './api.js';
import { confirmed } from './messages.js';
import { type Row, Rows } from './rows.js';
import { showPages } from './sessions.js';

/** Opens the form that revokes tokens, filled in. */
type Revoke = (project: string, matcher: TokenMatcher) => void;

/** Shows one session. */
export class SessionView {
  readonly #rows = new Rows<ConnectionItem>(
    byId('connection-rows'),
    (it) => it.id,
    () => this.#row(),
  );
  readonly #revoke: Revoke;
  #id = '';
  #project = '';
  #search = '';
  #before = '';
  #announced = false;

  constructor(revoke: Revoke) {
    this.#revoke = revoke;
    byId('end-session').addEventListener('click', () => void this.#end());
    byId('revoke-session').addEventListener('click', () => this.#revoke(this.#project, { sessionId: this.#id }));
    const input = byId<HTMLInputElement>('session-search');
    byId('session-search-form').addEventListener('submit', (event) => {
      event.preventDefault();
      location.hash = this.#address({ search: input.value.trim() });
    });
  }

  open(id: string, parameters: URLSearchParams): void {
    this.#id = id;
    this.#search = parameters.get('search') ?? '';
    this.#before = parameters.get('before') ?? '';
    this.#announced = false;
    byId<HTMLInputElement>('session-search').value = this.#search;
    setText(byId('session-id'), id);
    setText(byId('session-about'), '–');
    this.#clear('Looking…');
  }

  async refresh(isCurrent: () => boolean): Promise<void> {
    const path = `${sessionPath(this.#id)}${query({ search: this.#search, before: this.#before })}`;
    try {
      const session = await load<SessionDetails>(path);
      if (isCurrent()) this.#show(session);
    } catch (error) {
      if (!(error instanceof RequestError) || error.status === 401) throw error;
      if (isCurrent()) this.#gone(error);
    }
  }

  #gone({ status, message }: RequestError): void {
    const gone = status === 404 ? 'This session has no connections on this gateway.' : `${message}.`;
    setText(byId('session-about'), gone);
    this.#showActions(false);
    this.#clear('');
  }

  #clear(found: string): void {
    this.#rows.show([]);
    byId('connections-scroll').hidden = true;
    byId('connection-pages').hidden = true;
    setText(byId('connections-found'), found);
  }

  #show(session: SessionDetails): void {
    this.#project = session.project;
    const elsewhere = session.elsewhere === 0 ? '' : `, ${number(session.elsewhere)} on other gateways`;
    setText(byId('session-about'), `Project ${session.project}: ${count(session.connections, 'connection')} on this gateway${elsewhere}.`);
    this.#showActions(true);
    this.#rows.show(session.items);
    byId('connections-scroll').hidden = session.items.length === 0;
    showPages('connection-pages', 'connections', session.next, this.#before !== '', (from) =>
      this.#address({ search: this.#search, before: from }),
    );
    if (!this.#announced) setText(byId('connections-found'), this.#summary(session));
    this.#announced = session.items.length > 0;
  }

  #summary({ items, next }: SessionDetails): string {
    if (items.length === 0) return next === null ? 'Nothing was found.' : 'Nothing yet. Go on with the next page.';
    const more = next === null ? '' : '; there are more on the next page';
    return `${count(items.length, 'connection')} on this page${more}.`;
  }

  #showActions(possible: boolean): void {
    byId<HTMLButtonElement>('end-session').disabled = !possible;
    byId<HTMLButtonElement>('revoke-session').disabled = !possible;
  }

  #address(parameters: Record<string, string | number | null>): string {
    return `#/${sessionPath(this.#id)}${query(parameters)}`;
  }

  async #end(): Promise<void> {
    const id = this.#id;
    const question = {
      title: 'End this session?',
      text: ['All its clients are disconnected, on all gateways. Their tokens stay valid, so applications may let them join again.'],
      action: 'End the session',
    };
    await confirmed(question, async () => {
      const { disconnected } = await change<{ disconnected: number }>('DELETE', sessionPath(id));
      return `Session ended: ${count(disconnected, 'connection')} of this gateway disconnected.`;
    });
  }

  async #disconnect({ id, data }: ConnectionItem): Promise<void> {
    const session = this.#id;
    const about = data === '' ? [] : [' of ', foreign(data)];
    const question = {
      title: 'Disconnect this client?',
      text: ['Connection ', idText(id), ...about, ' ends. Its token stays valid.'],
      action: 'Disconnect',
    };
    await confirmed(question, async () => {
      await change('DELETE', `${sessionPath(session)}/connections/${id}`);
      return `Connection ${shortId(id)} disconnected.`;
    });
  }

  #row(): Row<ConnectionItem> {
    const cell = (className?: string): HTMLElement => element('td', { class: className });
    const [name, data, role, link, since] = [cell(), cell('data'), cell(), cell(), cell()];
    const [rtt, sent, written, queued] = [cell('number'), cell('number'), cell('number'), cell('number')];
    const actions = cell();
    const logged = element('span', { class: 'detail' });
    const transport = element('span', { class: 'name' });
    const address = element('code', { class: 'detail' });
    link.append(transport, address);
    let shown: ConnectionItem;
    return {
      element: element('tr', {}, name, data, role, link, since, rtt, sent, written, queued, actions),
      update: (item) => {
        shown = item;
        if (!name.hasChildNodes()) {
          // These do not change.
          name.append(avatar(item.id), idText(item.id));
          data.append(item.data === '' ? element('i', { class: 'detail' }, 'none') : foreign(item.data));
          setText(role, item.role);
          const joined = element('time', { datetime: new Date(item.createdAt).toISOString() }, timeOfDay(item.createdAt));
          since.append(joined, logged);
          since.title = date(item.createdAt);
          actions.append(this.#actions(() => shown));
        }
        link.className = item.link ? item.transport : '';
        setText(transport, item.link ? transportName(item.transport) : 'detached');
        setText(address, item.link?.address ?? '');
        link.title = linkTitle(item);
        setText(logged, item.link?.id ? `link ${item.link.id}` : '');
        setText(rtt, roundTrip(item.link?.rttMs));
        setText(sent, number(item.sent));
        setText(written, item.link ? number(item.link.written) : '–');
        setText(queued, item.link ? queue(item.link.queued, item.link.queuedBytes) : '–');
      },
    };
  }

  #actions(shown: () => ConnectionItem): HTMLElement {
    const button = (text: string, act: () => void): HTMLElement => {
      const { id } = shown();
      const made = element('button', { type: 'button', 'aria-label': `${text} ${shortId(id)}` }, text);
      made.addEventListener('click', act);
      return made;
    };
    const disconnect = button('Disconnect', () => void this.#disconnect(shown()));
    disconnect.classList.add('danger');
    const revoke = button('Revoke', () => {
      const { data } = shown();
      this.#revoke(this.#project, { sessionId: this.#id, ...(data === '' ? {} : { connectionData: data }) });
    });
    return element('div', { class: 'actions' }, disconnect, revoke);
  }
}

function linkTitle({ link, codec, resumable }: ConnectionItem): string {
  const lasts = link?.since ? `for ${duration(Date.now() - link.since)}, ` : '';
  return `${lasts}${codec}, ${resumable ? 'resumable' : 'not resumable'}`;
}

function roundTrip(ms: number | null | undefined): string {
  return typeof ms === 'number' ? milliseconds(ms) : '–';
}

function queue(frames: number, size: number): string {
  return frames === 0 ? '0' : `${number(frames)} (${bytes(size)})`;
}
