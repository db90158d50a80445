/** What the page tells: outcomes of actions, problems, and questions before an action. */

import { byId, setText } from '../dom.js';
import { RequestError } from './api.js';

/** Shows the outcome of an action. Screen readers read it. */
export function tell(text: string): void {
  setText(byId('outcome'), text);
}

/** Shows a problem, or removes it. */
export function showProblem(text: string | undefined): void {
  const problem = byId('problem');
  problem.hidden = text === undefined;
  setText(problem, text ?? '');
}

/** An action that is asked about first. */
export interface Question {
  readonly title: string;
  readonly text: (Node | string)[];
  /** The label of the button that does it. */
  readonly action: string;
}

/** Asks, and does it if that is confirmed. `act` returns the outcome. */
export async function confirmed(question: Question, act: () => Promise<string>): Promise<void> {
  if (!(await ask(question))) return;
  tell('');
  try {
    tell(await act());
    showProblem(undefined);
  } catch (error) {
    const asked = error instanceof RequestError;
    showProblem(asked ? `Not done: ${error.message}.` : 'Not done: the gateway does not answer.');
  }
}

function ask({ title, text, action }: Question): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>('confirm');
  const [yes, no] = [byId('confirm-yes'), byId('confirm-no')];
  setText(byId('confirm-title'), title);
  byId('confirm-text').replaceChildren(...text);
  setText(yes, action);
  dialog.showModal();
  // The harmless one, as somebody may be typing.
  no.focus();
  return new Promise((resolve) => {
    let answer = false;
    const listening = new AbortController();
    const close = (value: boolean): void => {
      answer = value;
      dialog.close();
    };
    yes.addEventListener('click', () => close(true), listening);
    no.addEventListener('click', () => close(false), listening);
    dialog.addEventListener(
      'close',
      () => {
        listening.abort();
        resolve(answer);
      },
      listening,
    );
  });
}
