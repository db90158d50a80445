/** The mark of a connection: the first digits of its id, on one of a few colours. */

import { element } from './dom.js';
import { shortId } from './format.js';

const COLOURS = 8;

/** The mark beside a connection's id. It adds nothing to the id, so it is hidden from screen readers. */
export function avatar(id: string): HTMLElement {
  const colour = parseInt(id.slice(0, 4), 16) % COLOURS;
  return element('span', { class: `avatar c${colour}`, 'aria-hidden': 'true' }, id.slice(0, 2));
}

/** The mark of a server. */
export function serverAvatar(): HTMLElement {
  return element('span', { class: 'avatar server', 'aria-hidden': 'true' }, '⌂');
}

/** A connection's id as the page names it. */
export function idText(id: string): HTMLElement {
  return element('code', { title: id }, shortId(id));
}
