/** Rows of a table that is refreshed: a row that stays keeps its element, and so the focus in it. */

import { element, setText } from '../dom.js';

/** The elements of a row, and what shows a newer item in them. */
export interface Row<T> {
  readonly element: HTMLElement;
  update(item: T): void;
}

/** The rows of a table, each for the item with one key. */
export class Rows<T> {
  readonly #body: HTMLElement;
  readonly #key: (item: T) => string;
  readonly #create: () => Row<T>;
  #rows = new Map<string, Row<T>>();

  constructor(body: HTMLElement, key: (item: T) => string, create: () => Row<T>) {
    this.#body = body;
    this.#key = key;
    this.#create = create;
  }

  /** Shows these items, in this order. */
  show(items: readonly T[]): void {
    const kept = new Map<string, Row<T>>();
    for (const item of items) {
      const key = this.#key(item);
      kept.set(key, this.#rows.get(key) ?? this.#create());
    }
    for (const [key, row] of this.#rows) if (!kept.has(key)) this.#remove(row.element);
    this.#rows = kept;
    let place = this.#body.firstElementChild;
    for (const item of items) {
      const row = kept.get(this.#key(item));
      if (!row) continue;
      row.update(item);
      // Only new rows are inserted: a row that is moved would lose the focus.
      if (row.element === place) place = place.nextElementSibling;
      else this.#body.insertBefore(row.element, place);
    }
  }

  #remove(row: HTMLElement): void {
    // The focus goes to the table rather than to the beginning of the page.
    if (row.contains(document.activeElement)) this.#body.closest<HTMLElement>('[tabindex]')?.focus();
    row.remove();
  }
}

/** A row of cells, each with a text. */
export function textRow<T>(cells: readonly { className?: string; text(item: T): string }[]): Row<T> {
  const elements = cells.map(({ className }) => element('td', { class: className }));
  return {
    element: element('tr', {}, ...elements),
    update: (item) => {
      for (const [index, { text }] of cells.entries()) {
        const cell = elements[index];
        if (cell) setText(cell, text(item));
      }
    },
  };
}
