/** What a project's server does: it makes sessions and tokens, and sends signals by REST. */

import { createHmac, randomBytes, randomUUID } from 'node:crypto';

import type { Gateway } from '../gateway.js';

type Role = 'subscriber' | 'publisher' | 'moderator' | 'publisheronly';

export interface TokenOptions {
  role?: Role;
  data?: string;
  /** Seconds from now; negative for a token that has expired. */
  expiresIn?: number;
}

/** The project of a gateway. */
export class Project {
  readonly key: string;
  readonly #secret: string;
  readonly #url: string;

  constructor({ project, url }: Gateway) {
    this.key = project.key;
    this.#secret = project.secret;
    this.#url = url;
  }

  /** A session id that nobody else uses. */
  newSession(): string {
    const random = randomBytes(12).toString('hex');
    const fields = `1~${this.key}~~${Date.now()}~${random}~~`;
    return `1_${Buffer.from(fields).toString('base64url')}`;
  }

  token(session: string, { role = 'publisher', data = '', expiresIn = 3600 }: TokenOptions = {}): string {
    const now = Math.floor(Date.now() / 1000);
    return this.#signed({
      iss: this.key,
      ist: 'project',
      iat: Math.min(now, now + expiresIn) - 1,
      exp: now + expiresIn,
      scope: 'session.connect',
      session_id: session,
      role,
      connection_data: data,
    });
  }

  /** A signal of the project's server to all in the session. */
  async signal(session: string, signal: { type?: string; data: string }): Promise<void> {
    const now = Math.floor(Date.now() / 1000);
    const credential = this.#signed({ iss: this.key, ist: 'project', iat: now, exp: now + 60, jti: randomUUID() });
    const response = await fetch(`${this.#url}/v2/project/${this.key}/session/${session}/signal`, {
      method: 'POST',
      headers: { 'X-OPENTOK-AUTH': credential, 'Content-Type': 'application/json' },
      body: JSON.stringify(signal),
    });
    if (response.status !== 204) throw new Error(`the gateway answered ${response.status}: ${await response.text()}`);
  }

  #signed(claims: object): string {
    const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
    const signed = `${encoded({ typ: 'JWT', alg: 'HS256' })}.${encoded(claims)}`;
    return `${signed}.${createHmac('sha256', this.#secret).update(signed).digest('base64url')}`;
  }
}
