/** The session that the page joins by itself: that of `signalbox serve --dev`. */

import type { Role } from '../../typescript/src/index.js';

/** The answer of the gateway to the page. */
export interface Environment {
  readonly session: string;
  readonly tokens: Readonly<Record<TokenRole, string>>;
  readonly webTransport: { readonly url: string; readonly certificateHash: string | null };
  readonly network?: { readonly url: string; readonly qrSvg: string };
}

/** Roles for which there is a token. */
export type TokenRole = Extract<Role, 'moderator' | 'publisher' | 'subscriber'>;

const ROLES: readonly TokenRole[] = ['moderator', 'publisher', 'subscriber'];
const KEY_ITEM = 'signalbox:page:key';

/**
 * The key in the page's address. It stays in the address, for reloads and bookmarks, and is kept for
 * the tab in case that the address is changed by hand.
 */
function pageKey(): string {
  const key = location.hash.slice(1);
  if (key) sessionStorage.setItem(KEY_ITEM, key);
  return key || (sessionStorage.getItem(KEY_ITEM) ?? '');
}

/** Asks the gateway for its session. `undefined` if it gives none; rejects if it cannot be reached. */
export async function loadEnvironment(): Promise<Environment | undefined> {
  const answer = await fetch('session.json', { headers: { Authorization: `Bearer ${pageKey()}` } });
  return answer.ok ? ((await answer.json()) as Environment) : undefined;
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
