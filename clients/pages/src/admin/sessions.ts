/** The list of sessions, and the search in it. */

import { idText } from '../avatar.js';
import { byId, element, foreign, setText } from '../dom.js';
import { count, number } from '../format.js';
import { type SessionItem, type SessionPage, load, query } from './api.js';
import { sessionLink } from './overview.js';
import { type Row, Rows } from './rows.js';

/** Shows the sessions of the gateway. */
export class SessionsView {
  readonly #rows = new Rows<SessionItem>(byId('session-rows'), (it) => it.id, sessionRow);
  #search = '';
  #after = '';
  /** What the live region has said of this search. */
  #announced = false;

  constructor() {
    const input = byId<HTMLInputElement>('search');
    byId('search-form').addEventListener('submit', (event) => {
      event.preventDefault();
      location.hash = `#/sessions${query({ search: input.value.trim() })}`;
    });
  }

  /** Begins with these parameters of the address. */
  open(parameters: URLSearchParams): void {
    this.#search = parameters.get('search') ?? '';
    this.#after = parameters.get('after') ?? '';
    this.#announced = false;
    byId<HTMLInputElement>('search').value = this.#search;
    this.#rows.show([]);
    byId('sessions-scroll').hidden = true;
    byId('session-pages').hidden = true;
    setText(byId('found'), 'Looking…');
  }

  async refresh(isCurrent: () => boolean): Promise<void> {
    const page = await load<SessionPage>(`sessions${query({ search: this.#search, after: this.#after })}`);
    if (isCurrent()) this.#show(page);
  }

  #show(page: SessionPage): void {
    this.#rows.show(page.sessions);
    byId('sessions-scroll').hidden = page.sessions.length === 0;
    showPages('session-pages', 'sessions', page.next, this.#after !== '', (from) =>
      `#/sessions${query({ search: this.#search, after: from })}`,
    );
    // Once for each search: numbers that change all the time are not announced.
    if (!this.#announced) setText(byId('found'), this.#summary(page));
    this.#announced = page.sessions.length > 0;
  }

  #summary({ sessions, next, examined }: SessionPage): string {
    if (sessions.length > 0) {
      const more = next === null ? '' : '; there are more on the next page';
      return `${count(sessions.length, 'session')} on this page${more}.`;
    }
    if (next !== null) return `Nothing among ${number(examined)} sessions and connections. Go on with the next page.`;
    return this.#search === '' ? 'There is no session.' : 'Nothing was found.';
  }
}

/** Shows the links to the first and to the next page. */
export function showPages(
  id: string,
  name: string,
  next: string | number | null,
  isLater: boolean,
  address: (from: string | number | null) => string,
): void {
  byId(id).hidden = next === null && !isLater;
  const [first, following] = [byId<HTMLAnchorElement>(`${name}-first`), byId<HTMLAnchorElement>(`${name}-next`)];
  first.hidden = !isLater;
  first.href = address(null);
  following.hidden = next === null;
  following.href = address(next);
}

function sessionRow(): Row<SessionItem> {
  const [name, project, found] = [element('td'), element('td'), element('td', { class: 'data' })];
  const [here, elsewhere] = [element('td', { class: 'number' }), element('td', { class: 'number' })];
  return {
    element: element('tr', {}, name, project, here, elsewhere, found),
    update: (item) => {
      if (!name.hasChildNodes()) {
        name.append(sessionLink(item.id));
        name.title = item.id;
      }
      setText(project, item.project);
      setText(here, number(item.connections));
      setText(elsewhere, number(item.elsewhere));
      const matches = (item.matches ?? []).map(({ id, data }) => element('div', {}, idText(id), ' ', foreign(data)));
      found.replaceChildren(...matches);
    },
  };
}
