/** The session that the page joins by itself: that of `signalbox serve --dev`. */

import type { Role } from '../../typescript/src/index.js';

/** The answer of the gateway to the page. */
export interface Environment {
  readonly session: string;
  readonly tokens: Readonly<Record<TokenRole, string>>;
  readonly webTransport: { readonly url: string; readonly certificateHash: string | null };
  readonly network?: { readonly url: string; readonly qrSvg: string };
}

/** Why the gateway did not give its session: it has none for pages, or the key is missing or wrong. */
export type NoEnvironment = 'noSession' | 'noKey' | 'wrongKey';

/** Roles for which there is a token. */
export type TokenRole = Extract<Role, 'moderator' | 'publisher' | 'subscriber'>;

const ROLES: readonly TokenRole[] = ['moderator', 'publisher', 'subscriber'];
const KEY_ITEM = 'signalbox:page:key';

/** The key in the page's address. It stays there, for reloads and bookmarks. */
function addressKey(): string {
  return location.hash.slice(1);
}

/** The key in the address, or else the last one in this tab that the gateway accepted. */
function pageKey(): string {
  return addressKey() || (sessionStorage.getItem(KEY_ITEM) ?? '');
}

/** Asks the gateway for its session. Rejects if the gateway cannot be reached. */
export async function loadEnvironment(): Promise<Environment | NoEnvironment> {
  const key = pageKey();
  const answer = await fetch('session.json', { headers: { Authorization: `Bearer ${key}` } });
  if (answer.status === 401) return addressKey() ? 'wrongKey' : 'noKey';
  if (!answer.ok) return 'noSession';
  sessionStorage.setItem(KEY_ITEM, key);
  return (await answer.json()) as Environment;
}

/** The role that the address asks for. */
export function requestedRole(): TokenRole {
  const role = new URLSearchParams(location.search).get('role');
  return ROLES.find((it) => it === role) ?? 'moderator';
}

/** The page's address for another role. */
export function addressFor(role: TokenRole): string {
  return `${location.pathname}?role=${role}#${pageKey()}`;
}

/** The bytes of a base64 text. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
