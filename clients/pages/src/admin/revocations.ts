/** The revocations of a project, and the form that makes one. */

import { byId, element, foreign, setText } from '../dom.js';
import { count, date } from '../format.js';
import { type Overview, type Revocation, type TokenMatcher, change, load } from './api.js';
import { confirmed, showProblem } from './messages.js';
import { sessionLink } from './overview.js';
import { type Row, Rows } from './rows.js';

/** Rows that are shown. A project may have ten thousand revocations. */
const ROWS = 200;

/** Shows revocations. */
export class RevocationsView {
  readonly #rows = new Rows<Revocation>(
    byId('revocation-rows'),
    (it) => it.id,
    () => this.#row(),
  );
  readonly #project = byId<HTMLSelectElement>('project');
  readonly #data = byId<HTMLTextAreaElement>('revoke-data');
  readonly #session = byId<HTMLInputElement>('revoke-session-id');
  readonly #token = byId<HTMLInputElement>('revoke-token-id');
  #stale: () => void;

  /** `stale` is called when another list is to be loaded. */
  constructor(stale: () => void) {
    this.#stale = stale;
    this.#project.addEventListener('change', () => {
      this.#rows.show([]);
      this.#stale();
    });
    byId('revoke-form').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#revoke();
    });
  }

  /** Fills in the form. */
  fill(project: string, { connectionData = '', sessionId = '', tokenId = '' }: TokenMatcher): void {
    this.#project.value = project;
    this.#data.value = connectionData;
    this.#session.value = sessionId;
    this.#token.value = tokenId;
  }

  /** Offers the configured projects. */
  offer({ projects }: Overview): void {
    const keys = projects.map((it) => it.key);
    const offered = [...this.#project.options].map((it) => it.value);
    if (keys.join(' ') === offered.join(' ')) return;
    const chosen = this.#project.value;
    this.#project.replaceChildren(...keys.map((key) => new Option(key, key, false, key === chosen)));
    this.#stale();
  }

  async refresh(isCurrent: () => boolean): Promise<void> {
    const project = this.#project.value;
    if (project === '') return;
    const { items } = await load<{ items: Revocation[] }>(`projects/${encodeURIComponent(project)}/revocations`);
    if (!isCurrent() || this.#project.value !== project) return;
    // The latest first.
    this.#rows.show(items.slice(-ROWS).reverse());
    byId('revocations-scroll').hidden = items.length === 0;
    const none = byId('no-revocations');
    none.hidden = items.length > 0 && items.length <= ROWS;
    setText(none, items.length === 0 ? 'There is none.' : `The latest ${ROWS} of ${count(items.length, 'revocation')}.`);
  }

  async #revoke(): Promise<void> {
    const project = this.#project.value;
    const matcher: TokenMatcher = {
      ...(this.#data.value === '' ? {} : { connectionData: this.#data.value }),
      ...(this.#session.value.trim() === '' ? {} : { sessionId: this.#session.value.trim() }),
      ...(this.#token.value.trim() === '' ? {} : { tokenId: this.#token.value.trim() }),
    };
    const selected = Object.keys(matcher).length;
    if (selected === 0) return showProblem('Give connection data, a session id or a token id.');
    const question = {
      title: 'Revoke these tokens?',
      text: ['Tokens of project ', project, ...describe(matcher), ' are no longer accepted, and their clients are disconnected.'],
      action: 'Revoke',
    };
    await confirmed(question, async () => {
      const path = `projects/${encodeURIComponent(project)}/revocations`;
      const { disconnected } = await change<{ disconnected: number }>('POST', path, matcher);
      this.fill(project, {});
      this.#stale();
      return `Tokens revoked: ${count(disconnected, 'connection')} of this gateway disconnected.`;
    });
  }

  async #delete(revocation: Revocation): Promise<void> {
    const project = this.#project.value;
    const question = {
      title: 'Delete this revocation?',
      text: ['Tokens', ...describe(revocation), ' are accepted again.'],
      action: 'Delete',
    };
    await confirmed(question, async () => {
      await change('DELETE', `projects/${encodeURIComponent(project)}/revocations/${revocation.id}`);
      this.#stale();
      return 'Revocation deleted.';
    });
  }

  #row(): Row<Revocation> {
    const row = element('tr');
    return {
      element: row,
      // A revocation does not change.
      update: (it) => {
        if (row.hasChildNodes()) return;
        const button = element('button', { type: 'button', 'aria-label': `Delete revocation ${it.id.slice(0, 8)}` }, 'Delete');
        button.addEventListener('click', () => void this.#delete(it));
        row.append(
          element('td', { class: 'data' }, it.connectionData === undefined ? 'any' : foreign(it.connectionData)),
          element('td', {}, it.sessionId === undefined ? 'any' : sessionLink(it.sessionId)),
          element('td', { class: 'value' }, it.tokenId === undefined ? 'any' : foreign(it.tokenId)),
          element('td', {}, it.issuedBefore === undefined ? 'any' : date(1000 * it.issuedBefore)),
          element('td', {}, date(1000 * it.expires)),
          element('td', {}, button),
        );
      },
    };
  }
}

function describe({ connectionData, sessionId, tokenId }: TokenMatcher): (Node | string)[] {
  return [
    ...(connectionData === undefined ? [] : [' with the connection data ', foreign(connectionData)]),
    ...(sessionId === undefined ? [] : [' for the session ', element('code', {}, `…${sessionId.slice(-16)}`)]),
    ...(tokenId === undefined ? [] : [' with the id ', foreign(tokenId)]),
  ];
}
