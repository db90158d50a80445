/** The links of this client's connection: how long each lasted, and what the change cost. */

import type { Gap, Lost, Transport } from '../../typescript/src/index.js';
import { byId, element, setText } from './dom.js';
import { count, duration, milliseconds, shortId, timeOfDay, transportName } from './format.js';

/** Links that are shown. */
const ROWS = 20;

/** The current link, as it is shown. */
interface OpenLink {
  row: HTMLElement;
  since: number;
  lasted: HTMLElement;
}

/** The history of links. */
export class LinkHistory {
  readonly #list = byId('links');
  #open: OpenLink | undefined;
  #lostAt = 0;
  #resumed = 0;
  #rejoined = 0;
  #missed = 0;
  #lost = 0;
  #wasLost = false;

  constructor() {
    setInterval(() => this.#showDuration(), 1000);
  }

  /** The client has joined as a new connection. */
  joined(transport: Transport | undefined): void {
    this.#list.replaceChildren();
    this.#resumed = this.#rejoined = this.#missed = this.#lost = 0;
    this.#wasLost = false;
    this.#begin(transport, 'joined');
    this.#showTotals();
  }

  /** The link is lost. */
  lost(): void {
    this.ended();
    this.#lostAt = Date.now();
    this.#wasLost = true;
    this.#showTotals();
  }

  /** The client has no link any more. */
  ended(): void {
    this.#showDuration();
    this.#open?.row.classList.remove('open');
    this.#open = undefined;
  }

  /** The connection has been resumed over another link. Returns what that means, for the log. */
  resumed(transport: Transport | undefined, missed: number, gap: Gap | undefined): string {
    this.#resumed++;
    this.#missed += missed;
    this.#lost += countLost(gap?.lost ?? []);
    const received = missedText(missed);
    const away = milliseconds(Date.now() - this.#lostAt);
    this.#begin(transport, `resumed after ${away}: ${received}${gapText(gap)}`);
    this.#showTotals();
    return `Resumed over ${transportName(transport)} as the same connection: ${received}${gapText(gap)}.`;
  }

  /** Signals were lost between gateways. Returns what that means, for the log. */
  lostBetweenGateways(lost: readonly Lost[]): string {
    this.#lost += countLost(lost);
    this.#showTotals();
    return `Lost between gateways: ${lostTexts(lost).join(', ')}.`;
  }

  /** The client has joined again as another connection. */
  rejoined(transport: Transport | undefined): void {
    this.#rejoined++;
    this.#begin(transport, 'joined again as another connection');
    this.#showTotals();
  }

  #begin(transport: Transport | undefined, how: string): void {
    const since = Date.now();
    const lasted = element('span', { class: 'detail' });
    const head = element('span', { class: 'name' }, transportName(transport), ' ', lasted);
    const begin = element('time', { datetime: new Date(since).toISOString() }, timeOfDay(since));
    const row = element('li', { class: `open ${transport ?? ''}` }, head, element('span', { class: 'detail' }, begin, ' ', how));
    this.#list.prepend(row);
    while (this.#list.childElementCount > ROWS) this.#list.lastElementChild?.remove();
    this.#open = { row, since, lasted };
    this.#showDuration();
  }

  #showDuration(): void {
    if (this.#open) setText(this.#open.lasted, duration(Date.now() - this.#open.since));
  }

  #showTotals(): void {
    setText(byId('tile-resumed'), String(this.#resumed));
    const lost = this.#lost === 0 ? 'nothing lost' : `${count(this.#lost, 'signal')} lost`;
    const parts = [];
    if (this.#resumed > 0 || this.#lost > 0) parts.push(`${missedText(this.#missed)}, ${lost}`);
    if (this.#rejoined > 0) parts.push(`joined again ${count(this.#rejoined, 'time')}`);
    setText(byId('tile-resumed-detail'), parts.join('; ') || (this.#wasLost ? 'the link was lost' : 'the link was never lost'));
  }
}

function missedText(missed: number): string {
  return missed === 0 ? 'nothing missed' : `${missed.toLocaleString('en')} missed and received`;
}

function countLost(lost: readonly Lost[]): number {
  return lost.reduce((sum, { after, until }) => sum + until - after, 0);
}

function lostTexts(lost: readonly Lost[]): string[] {
  return lost.map(({ connectionId, after, until }) => {
    const sender = connectionId === undefined ? 'a server' : shortId(connectionId);
    return `${count(until - after, 'signal')} of ${sender}`;
  });
}

function gapText(gap: Gap | undefined): string {
  if (!gap) return '';
  const parts = lostTexts(gap.lost);
  if (gap.presence) parts.push('presence events');
  return `; lost for good: ${parts.join(', ')}`;
}
