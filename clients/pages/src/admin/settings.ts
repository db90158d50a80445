/** The configuration in effect. */

import { byId, element, setText } from '../dom.js';
import { count } from '../format.js';
import { type Configuration, type DescribedSetting, type ReloadReport, type SettingEffect, load, reload } from './api.js';
import { confirmed } from './messages.js';

const EFFECTS: Readonly<Record<SettingEffect, string>> = {
  atOnce: 'at once',
  newConnections: 'for new connections',
  restart: 'after a restart',
};

/** Shows the settings. */
export class SettingsView {
  readonly #filter = byId<HTMLInputElement>('settings-filter');
  readonly #changed = byId<HTMLInputElement>('settings-changed');
  #settings: readonly DescribedSetting[] | undefined;

  constructor() {
    this.#filter.addEventListener('input', () => this.#show());
    this.#changed.addEventListener('change', () => this.#show());
    byId('settings-form').addEventListener('submit', (event) => event.preventDefault());
    byId('reload').addEventListener('click', () => void this.#reload());
  }

  /** Loads them again at the next refresh. They change when the gateway reloads. */
  open(): void {
    this.#settings = undefined;
  }

  async refresh(isCurrent: () => boolean): Promise<void> {
    if (this.#settings) return;
    const { settings, awaitingRestart } = await load<Configuration>('settings');
    if (!isCurrent()) return;
    this.#settings = settings;
    showWaiting(awaitingRestart.map((it) => it.setting));
    this.#show();
  }

  async #reload(): Promise<void> {
    const question = {
      title: 'Reload the configuration?',
      text: ['The gateway reads its configuration again, and applies all of it or nothing. Links stay.'],
      action: 'Reload',
    };
    await confirmed(question, async () => {
      const report = await reload();
      this.open();
      return outcome(report);
    });
  }

  #show(): void {
    const wanted = this.#filter.value.trim().toLowerCase();
    const shown = (this.#settings ?? []).filter(
      ({ name, about, isDefault }) =>
        `${name} ${about}`.toLowerCase().includes(wanted) && !(this.#changed.checked && isDefault),
    );
    byId('settings-rows').replaceChildren(...shown.map(row));
    setText(byId('settings-count'), `${count(shown.length, 'setting')}. Secrets are hidden.`);
  }
}

function outcome({ changed, awaitingRestart }: ReloadReport): string {
  const waiting = awaitingRestart.length === 0 ? '' : ` ${count(awaitingRestart.length, 'change')} after a restart.`;
  return `Configuration reloaded: ${count(changed.length, 'change')}.${waiting}`;
}

function showWaiting(names: readonly string[]): void {
  const waiting = byId('settings-waiting');
  waiting.hidden = names.length === 0;
  setText(waiting, `Changed in the file, and in effect after a restart: ${names.join(', ')}.`);
}

function row({ name, value, isDefault, effect, about }: DescribedSetting): HTMLElement {
  return element(
    'tr',
    { class: isDefault ? undefined : 'differs' },
    element('td', { class: 'short' }, element('code', {}, name)),
    element('td', { class: 'value' }, text(value)),
    element('td', { class: 'hint' }, EFFECTS[effect]),
    element('td', { class: 'hint' }, about),
  );
}

function text(value: unknown): string {
  if (value === null) return 'not set';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
