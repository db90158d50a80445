/** Elements of the page. Text is always text: nothing that arrives is read as HTML. */

type Attributes = Record<string, string | undefined>;

/** The element with this id. The page has all of them. */
export function byId<E extends Element = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element as Element as E;
}

/** A new HTML element. */
export function element(name: string, attributes: Attributes = {}, ...children: (Node | string)[]): HTMLElement {
  return filled(document.createElement(name), attributes, children);
}

/** A new SVG element. */
export function svg(name: string, attributes: Attributes = {}, ...children: (Node | string)[]): SVGElement {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

/** Text of others. Its writing direction and its line ends do not affect what surrounds it. */
export function foreign(text: string): HTMLElement {
  return element('bdi', { class: 'foreign' }, text);
}

/** Sets an element's text, unless it is the same. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

function filled<E extends Element>(target: E, attributes: Attributes, children: (Node | string)[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) target.setAttribute(name, value);
  }
  target.append(...children);
  return target;
}
