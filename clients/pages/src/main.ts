/** The page of a gateway: it joins a session, shows it, and lets one try what a network does to it. */

import { ConnectError, type ConnectOptions, type Session, type Transport, connect } from '../../typescript/src/index.js';
import { avatar, idText } from './avatar.js';
import { Composer } from './composer.js';
import { byId, setText } from './dom.js';
import { type Environment, type NoEnvironment, type TokenRole, addressFor, fromBase64, loadEnvironment, requestedRole } from './environment.js';
import { shortId, transportName } from './format.js';
import { LinkHistory } from './links.js';
import { SignalLog } from './log.js';
import { FailingNetwork } from './network.js';
import { People, description } from './people.js';
import { RoundTrips } from './round-trips.js';

/** Time for a chosen transport to connect, after which the other one is allowed again. */
const SWITCH_MS = 6000;

/** What the page says if the gateway did not give its session. */
const NO_ENVIRONMENT: Readonly<Record<NoEnvironment, string>> = {
  noSession: 'This gateway has no session for the page',
  noKey: 'The address of this page has no key. Open the address that "signalbox serve --dev" printed',
  wrongKey:
    'The gateway does not accept the key in the address of this page. Open the address that "signalbox serve --dev" printed',
};

/** State of the page, as its heading shows it. */
type PageState = 'connecting' | 'connected' | 'reconnecting' | 'left';

const network = new FailingNetwork();
const log = new SignalLog();
const roundTrips = new RoundTrips();
const links = new LinkHistory();
const composer = new Composer(log);
const people = new People((id) => void disconnect(id));
const role = byId<HTMLSelectElement>('role');

let environment: Environment | undefined;
/** The token that was typed, if the gateway gave none. */
let typedToken: string | undefined;
let session: Session | undefined;
let joining = false;

/** Joins the session. */
async function join(): Promise<void> {
  if (joining || session) return;
  joining = true;
  showProblem(undefined);
  showState('connecting', 'Connecting…');
  try {
    const joined = await connect(location.origin, currentToken, options());
    follow(joined);
  } catch (error) {
    const refused = error instanceof ConnectError && error.code === 'refused';
    showProblem(`${(error as Error).message}.`);
    showState('left', refused ? 'Refused' : 'Not connected');
    if (refused && typedToken !== undefined) askForToken('The gateway did not accept the token.');
  } finally {
    joining = false;
    showActions();
  }
}

/** A token that is valid now: those of the gateway are replaced when it restarts. */
async function currentToken(): Promise<string> {
  if (typedToken !== undefined) return typedToken;
  const answer = await loadEnvironment();
  if (typeof answer !== 'string') environment = answer;
  else if (!environment) throw new Error(NO_ENVIRONMENT[answer]);
  return environment.tokens[role.value as TokenRole];
}

function options(): ConnectOptions {
  const endpoint = environment?.webTransport;
  const agent = 'signalbox-page';
  if (!endpoint?.certificateHash) return { agent };
  const value = fromBase64(endpoint.certificateHash);
  return { agent, webTransportUrl: endpoint.url, serverCertificateHashes: [{ algorithm: 'sha-256', value }] };
}

/** Shows a session that was joined. */
function follow(joined: Session): void {
  session = joined;
  composer.show(joined);
  roundTrips.start(joined);
  links.joined(joined.transport);
  log.note('good', 'You joined as ', idText(joined.connection.id), ` over ${transportName(joined.transport)}.`);
  showConnected();
  people.show(joined);

  joined.on('signal', (signal) => {
    const own = joined.connection.id;
    if (!roundTrips.received(signal, own)) log.received(signal, own);
  });
  joined.on('connectionCreated', ({ connection }) => {
    people.show(joined);
    log.note('here', idText(connection.id), ' is here.');
  });
  joined.on('connectionDestroyed', ({ connection, reason }) => {
    people.show(joined);
    log.note('gone', idText(connection.id), ` left (${reason}).`);
  });
  joined.on('gap', ({ lost }) => log.note('bad', links.lostBetweenGateways(lost)));
  joined.on('rejected', ({ code, message }) => log.note('bad', `Rejected by the gateway (${code}): ${message}.`));
  joined.on('sessionReconnecting', ({ message }) => {
    links.lost();
    log.note('bad', `The link is lost: ${network.takeCause() ?? message}.`);
    showState('reconnecting', 'Reconnecting…');
  });
  joined.on('sessionReconnected', ({ missed, gap }) => {
    log.note(gap ? 'bad' : 'good', links.resumed(joined.transport, missed, gap));
    showConnected();
  });
  joined.on('sessionRejoined', ({ connection }) => {
    links.rejoined(joined.transport);
    log.note('bad', 'Joined again, as another connection: ', idText(connection.id), '.');
    showConnected();
    people.show(joined);
  });
  joined.on('sessionDisconnected', ({ reason, message }) => {
    session = undefined;
    links.ended();
    roundTrips.stop();
    composer.show(undefined);
    people.show(undefined);
    const asked = reason === 'clientDisconnected';
    log.note(asked ? 'plain' : 'bad', asked ? 'You left.' : `Disconnected (${reason}): ${message}.`);
    showState('left', asked ? 'Left' : 'Disconnected');
    showActions();
  });
}

async function disconnect(id: string): Promise<void> {
  try {
    await session?.forceDisconnect(id);
  } catch (error) {
    log.note('bad', `${shortId(id)} was not disconnected: ${(error as Error).message}.`);
  }
}

/** Leaves, and joins again in another role. */
async function changeRole(): Promise<void> {
  history.replaceState(undefined, '', addressFor(role.value as TokenRole));
  await session?.disconnect();
  await join();
}

/** Moves the connection to another transport: the other one is blocked, and the link is dropped. */
function chooseTransport(choice: Transport | 'automatic'): void {
  if (choice === 'automatic') return network.allow(network.available);
  network.allow([choice]);
  const current = session;
  if (!current || current.transport === choice) return;
  network.drop('the transport changes');
  setTimeout(() => {
    const given = byId<HTMLInputElement>(`transport-${choice}`).checked;
    if (!given || session !== current || current.state === 'connected' || network.isCut) return;
    byId<HTMLInputElement>('transport-automatic').checked = true;
    network.allow(network.available);
    network.restore();
    log.note('bad', `${transportName(choice)} does not connect here; all transports are allowed again.`);
  }, SWITCH_MS);
}

function showConnected(): void {
  const current = session;
  if (!current) return;
  const { connection, transport } = current;
  showState('connected', `Connected over ${transportName(transport)}`);
  setText(byId('session-label'), 'Session');
  setText(byId('session-id'), `${current.sessionId.slice(0, 14)}…`);
  byId('session-id').title = current.sessionId;
  byId('me').replaceChildren(avatar(connection.id), description(connection));
  showActions();
}

function showState(state: PageState, text: string): void {
  byId('state').dataset.state = state;
  setText(byId('state-text'), text);
  document.body.dataset.transport = session?.transport ?? '';
  const transport = state === 'connected' ? transportName(session?.transport) : '–';
  setText(byId('tile-transport'), transport);
  const details = { webtransport: 'over QUIC (UDP), a stream for each sender', websocket: 'over TCP, all on one stream' };
  const detail = session?.transport ? details[session.transport] : text.toLowerCase();
  setText(byId('tile-transport-detail'), state === 'connected' ? detail : text.toLowerCase());
}

/** Shows which actions there are now. */
function showActions(): void {
  setText(byId('leave'), session ? 'Leave' : 'Join');
  setText(byId('cut'), network.isCut ? 'Restore the network' : 'Cut the network');
  byId<HTMLButtonElement>('drop').disabled = !session;
  // A network that is cut can be restored without a session: nothing can be joined until then.
  byId<HTMLButtonElement>('cut').disabled = !session && !network.isCut;
}

function showProblem(text: string | undefined): void {
  const problem = byId('problem');
  problem.hidden = text === undefined;
  setText(problem, text ?? '');
}

function withoutWebTransport(why: string): void {
  byId<HTMLInputElement>('transport-webtransport').disabled = true;
  setText(byId('transport-hint'), why);
}

function askForToken(why: string): void {
  byId('token-form').hidden = false;
  setText(byId('token-reason'), why);
  byId('token').focus();
}

function showNetworkAddress({ network: page }: Environment): void {
  if (!page) return;
  byId('network').hidden = false;
  byId<HTMLImageElement>('network-code').src = `data:image/svg+xml,${encodeURIComponent(page.qrSvg)}`;
  const link = byId<HTMLAnchorElement>('network-url');
  link.href = page.url;
  setText(link, page.url.replace(/#.*/, ''));
}

function listen(): void {
  byId('drop').addEventListener('click', () => network.drop('this page dropped it'));
  byId('cut').addEventListener('click', () => {
    if (network.isCut) network.restore();
    else network.cut();
    showActions();
  });
  byId('leave').addEventListener('click', () => void (session ? session.disconnect() : join()));
  role.addEventListener('change', () => void changeRole());
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name=transport]')) {
    input.id = `transport-${input.value}`;
    input.addEventListener('change', () => chooseTransport(input.value as Transport | 'automatic'));
  }
  // A browser does not load the page again when only the key in its address changes.
  addEventListener('hashchange', () => location.reload());
  byId('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    typedToken = byId<HTMLTextAreaElement>('token').value.trim();
    byId('token-form').hidden = true;
    void join();
  });
}

async function start(): Promise<void> {
  role.value = requestedRole();
  listen();
  composer.show(undefined);
  people.show(undefined);
  showActions();
  let answer: Environment | NoEnvironment;
  try {
    answer = await loadEnvironment();
  } catch {
    showState('left', 'Not connected');
    return showProblem('The gateway does not answer. Start it, then reload this page.');
  }
  byId<HTMLAnchorElement>('second').href = addressFor('publisher');
  if (!network.available.includes('webtransport')) withoutWebTransport('This browser has no WebTransport on this page.');
  if (typeof answer === 'string') {
    // The address and the certificate for WebTransport come with the session.
    withoutWebTransport('With a token, this page joins over WebSocket only.');
    showState('left', 'Not connected');
    showProblem(`${NO_ENVIRONMENT[answer]}.`);
    return askForToken('A token for any session of this gateway.');
  }
  environment = answer;
  showNetworkAddress(environment);
  await join();
}

void start();
