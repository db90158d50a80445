/** Requests to the operations listener, as docs/openapi-operations.yaml specifies them. */

const TOKEN_ITEM = 'signalbox:ops:token';

export type AdminTransport = 'quic' | 'websocket' | 'webtransport';

/** Numbers of a gateway's traffic: totals, or rates per second. */
export interface TrafficNumbers {
  readonly signals: number;
  readonly deliveries: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly joins: number;
  readonly resumes: number;
}

export interface EndedLink {
  readonly at: number;
  readonly reason: string;
  readonly transport: AdminTransport;
  readonly session: string;
  readonly connection: string;
  readonly address: string;
  readonly link: number;
}

export interface ClusterReport {
  readonly healthy: boolean;
  readonly problems: readonly string[];
  readonly peers: readonly { name: string; epoch: string; leaseAgeMs: number; unconfirmed: number }[];
  readonly sessions: { readonly open: number; readonly shared: number; readonly orphaned: number };
}

export interface Overview {
  readonly gateway: {
    readonly name: string;
    readonly version: string;
    readonly time: number;
    readonly uptimeMs: number;
    readonly ready: boolean;
    readonly notReady: string | null;
    readonly draining: boolean;
  };
  readonly sessions: number;
  readonly connections: { readonly attached: number; readonly detached: number };
  readonly byTransport: readonly {
    transport: AdminTransport;
    attached: number;
    detached: number;
    queued: number;
    fullest: number;
  }[];
  readonly projects: readonly { key: string; sessions: number; connections: number }[];
  readonly traffic: {
    readonly totals: TrafficNumbers;
    readonly rates: TrafficNumbers;
    readonly series: { readonly intervalMs: number; readonly signals: number[]; readonly deliveries: number[] };
    readonly transports: readonly {
      transport: AdminTransport;
      links: number;
      signals: number;
      receivedBytes: number;
      sentBytes: number;
    }[];
    readonly ends: readonly { reason: string; recent: number; total: number }[];
  };
  readonly endedLinks: readonly EndedLink[];
  readonly certificate: {
    readonly file: string;
    readonly sha256: string | null;
    readonly notBefore: number | null;
    readonly notAfter: number | null;
  };
  readonly cluster: ClusterReport | null;
}

export interface SessionItem {
  readonly id: string;
  readonly project: string;
  readonly connections: number;
  readonly elsewhere: number;
  readonly matches?: readonly { id: string; data: string }[];
}

export interface SessionPage {
  readonly sessions: readonly SessionItem[];
  readonly next: string | null;
  readonly examined: number;
}

export interface ConnectionItem {
  readonly id: string;
  readonly data: string;
  readonly role: string;
  readonly transport: AdminTransport;
  readonly codec: string;
  readonly createdAt: number;
  readonly resumable: boolean;
  readonly sent: number;
  readonly link: {
    readonly id: number | null;
    readonly address: string | null;
    readonly since: number | null;
    readonly rttMs: number | null;
    readonly written: number;
    readonly queued: number;
    readonly queuedBytes: number;
  } | null;
}

export interface SessionDetails extends SessionItem {
  readonly items: readonly ConnectionItem[];
  readonly next: number | null;
}

export interface Revocation {
  readonly id: string;
  readonly tokenId?: string;
  readonly connectionData?: string;
  readonly sessionId?: string;
  readonly issuedBefore?: number;
  readonly expires: number;
}

/** What selects the tokens to revoke. */
export type TokenMatcher = Pick<Revocation, 'tokenId' | 'connectionData' | 'sessionId'>;

/** When a change of a setting takes effect. */
export type SettingEffect = 'atOnce' | 'newConnections' | 'restart';

export interface DescribedSetting {
  readonly name: string;
  readonly value: unknown;
  readonly isDefault: boolean;
  readonly effect: SettingEffect;
  readonly about: string;
}

/** The configuration in effect, and what a restart would change. */
export interface Configuration {
  readonly settings: readonly DescribedSetting[];
  readonly awaitingRestart: readonly SettingChange[];
}

/** A difference between two configurations. */
export interface SettingChange {
  readonly setting: string;
}

/** What a reload has changed. */
export interface ReloadReport {
  readonly changed: readonly SettingChange[];
  readonly awaitingRestart: readonly SettingChange[];
}

/** A request that was answered with an error. */
export class RequestError extends Error {
  override readonly name = 'RequestError';

  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Keeps the token for this tab. It is sent as a header, so no other page can use it. */
export function useToken(token: string): void {
  sessionStorage.setItem(TOKEN_ITEM, token);
}

/** Whether a token has been given in this tab. */
export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN_ITEM) !== null;
}

/** Asks for JSON. */
export async function load<T>(path: string): Promise<T> {
  return (await (await request('GET', path)).json()) as T;
}

/** Changes something. Returns the answer, if it has a body. */
export async function change<T = undefined>(method: 'DELETE' | 'POST', path: string, body?: unknown): Promise<T> {
  const answer = await request(method, path, body);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

/** Reloads the configuration of the gateway. */
export async function reload(): Promise<ReloadReport> {
  return change('POST', '../reload');
}

async function request(method: string, path: string, body?: unknown): Promise<Response> {
  const headers = new Headers();
  const token = sessionStorage.getItem(TOKEN_ITEM);
  if (token !== null) headers.set('Authorization', `Bearer ${token}`);
  if (method !== 'GET') headers.set('X-Signalbox-Admin', '1');
  if (body !== undefined) headers.set('Content-Type', 'application/json');
  const answer = await fetch(`admin/${path}`, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
  if (!answer.ok) throw new RequestError(answer.status, await reasonOf(answer));
  return answer;
}

async function reasonOf(answer: Response): Promise<string> {
  const text = await answer.text();
  try {
    return (JSON.parse(text) as { message: string }).message;
  } catch {
    return text.trim() || `status ${answer.status}`;
  }
}

/** The path of a session. */
export function sessionPath(id: string): string {
  return `sessions/${encodeURIComponent(id)}`;
}

/** A query with the parameters that have a value. */
export function query(parameters: Record<string, string | number | null>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
