/** The admin page of a gateway, on its operations listener. */

import { byId, setText } from '../dom.js';
import { type Overview, RequestError, hasToken, load, useToken } from './api.js';
import { showProblem, tell } from './messages.js';
import { OverviewView } from './overview.js';
import { RevocationsView } from './revocations.js';
import { SessionView } from './session.js';
import { SessionsView } from './sessions.js';
import { SettingsView } from './settings.js';

/** Time between two refreshes, and after an error. */
const REFRESH_MS = 2000;

const VIEWS = ['overview', 'sessions', 'session', 'revocations', 'settings'] as const;
type ViewName = (typeof VIEWS)[number];

const overviewView = new OverviewView();
const sessionsView = new SessionsView();
const settingsView = new SettingsView();
const revocationsView = new RevocationsView(() => refreshSoon());
const sessionView = new SessionView((project, matcher) => {
  revocationsView.fill(project, matcher);
  location.hash = '#/revocations';
});

let view: ViewName = 'overview';
/** Counts the views that were opened: an answer for an earlier one is not shown. */
let opened = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let refreshing = false;
let again = false;
/** Whether the gateway waits for a token. Until there is one, nothing is asked. */
let locked = false;
let unreachable = false;

/** Opens the view of the address. */
function open(moveFocus: boolean): void {
  const [path = '', parameters = ''] = location.hash.slice(1).split('?');
  const [, name = '', id] = path.split('/');
  const query = new URLSearchParams(parameters);
  opened++;
  tell('');
  if (!unreachable) showProblem(undefined);
  view = viewOf(name, id);
  if (view === 'sessions') sessionsView.open(query);
  else if (view === 'session') sessionView.open(decoded(id ?? ''), query);
  else if (view === 'settings') settingsView.open();
  for (const each of VIEWS) byId(`view-${each}`).hidden = locked || each !== view;
  const current = `#/${view === 'overview' ? '' : view === 'session' ? 'sessions' : view}`;
  for (const link of document.querySelectorAll('#views a')) {
    if (link.getAttribute('href') === current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const heading = byId(`view-${view}`).querySelector('h2');
  document.title = `${heading?.textContent ?? ''} · Signalbox`;
  // Otherwise a screen reader would not notice that the view has changed.
  if (moveFocus) heading?.focus();
  refreshSoon();
}

/** A part of the address, which somebody may have typed. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function viewOf(name: string, id: string | undefined): ViewName {
  if (name === 'sessions') return id ? 'session' : 'sessions';
  return name === 'revocations' || name === 'settings' ? name : 'overview';
}

/** Refreshes at once, or after the refresh that runs. */
function refreshSoon(): void {
  clearTimeout(timer);
  if (refreshing) again = true;
  else void refresh();
}

async function refresh(): Promise<void> {
  if (locked || document.hidden) return;
  refreshing = true;
  try {
    const overview = await load<Overview>('overview');
    showState(overview);
    revocationsView.offer(overview);
    const current = opened;
    const isCurrent = (): boolean => current === opened;
    if (view === 'overview') overviewView.show(overview);
    else if (view === 'sessions') await sessionsView.refresh(isCurrent);
    else if (view === 'session') await sessionView.refresh(isCurrent);
    else if (view === 'revocations') await revocationsView.refresh(isCurrent);
    else await settingsView.refresh(isCurrent);
    showUnreachable(false);
  } catch (error) {
    showError(error);
  } finally {
    refreshing = false;
    clearTimeout(timer);
    timer = setTimeout(() => void refresh(), again ? 0 : REFRESH_MS);
    again = false;
  }
}

function showState({ gateway }: Overview): void {
  const { name, version, ready, notReady, draining } = gateway;
  setText(byId('gateway'), `Gateway ${name}, version ${version}`);
  const text = draining ? 'Draining' : ready ? 'Ready' : `Not ready: ${notReady ?? ''}`;
  setLamp(draining || !ready ? 'connecting' : 'connected', text);
}

function setLamp(state: string, text: string): void {
  byId('state').dataset.state = state;
  setText(byId('state-text'), text);
}

function showUnreachable(now: boolean): void {
  if (now === unreachable) return;
  unreachable = now;
  if (now) setLamp('left', 'Not reachable');
  showProblem(now ? 'The gateway does not answer. What is shown here may be old.' : undefined);
}

function showError(error: unknown): void {
  if (!(error instanceof RequestError)) return showUnreachable(true);
  if (error.status === 401) return askForToken();
  showProblem(`${error.message}.`);
}

function askForToken(): void {
  locked = true;
  for (const each of VIEWS) byId(`view-${each}`).hidden = true;
  byId('token-form').hidden = false;
  setLamp('left', 'Locked');
  const wrong = 'The gateway does not accept this token.';
  setText(byId('token-reason'), hasToken() ? wrong : 'This gateway asks for its token. It is kept until this tab is closed.');
  byId('token').focus();
}

byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const input = byId<HTMLInputElement>('token');
  useToken(input.value.trim());
  input.value = '';
  locked = false;
  byId('token-form').hidden = true;
  open(true);
});
byId('skip').addEventListener('click', () => byId('content').focus());
addEventListener('hashchange', () => open(true));
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) refreshSoon();
});
open(false);
