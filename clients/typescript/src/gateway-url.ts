/** Gateway URLs, and the ways to connect that they stand for. */

import { ConnectError } from './error.js';
import type { ResolvedOptions, Transport } from './options.js';
import { DEFAULT_PORT, PATH } from './protocol/messages.js';

/** One way to connect to one gateway. */
export interface Target {
  transport: Transport;
  /** URL of the endpoint. */
  url: string;
  /** Host and port of the gateway, by which the transport that worked is remembered. */
  gateway: string;
}

const USE = 'use https://HOST[:PORT], wss://HOST[:PORT], http://HOST[:PORT] or ws://HOST[:PORT]';

/** All ways to connect to the gateways, in order of preference, each once. Throws a {@link ConnectError}. */
export function targets(urls: string | readonly string[], options: ResolvedOptions): Target[] {
  const list = typeof urls === 'string' ? [urls] : urls;
  if (!Array.isArray(list) || list.length === 0) throw new ConnectError('url', `no URL is given: ${USE}`);
  const { webTransportUrl, transports } = options;
  if (webTransportUrl !== undefined && list.length > 1) {
    throw new ConnectError('options', 'webTransportUrl is only for one gateway');
  }
  const all = list.flatMap((url) => {
    const { protocol, address } = parse(url);
    const websocket = `${protocol === 'http:' || protocol === 'ws:' ? 'ws' : 'wss'}://${address}${PATH}`;
    let webtransport = protocol === 'https:' ? `https://${address}${PATH}` : undefined;
    if (webTransportUrl !== undefined) webtransport = `https://${parse(webTransportUrl).address}${PATH}`;
    const endpoints = { websocket, webtransport };
    return transports.flatMap((transport) => {
      const endpoint = endpoints[transport];
      return endpoint === undefined ? [] : [{ transport, url: endpoint, gateway: address }];
    });
  });
  if (all.length === 0) throw new ConnectError('options', 'the URL allows none of the transports');
  return all.filter(({ url }, index) => all.findIndex((it) => it.url === url) === index);
}

function parse(text: string): { protocol: string; address: string } {
  const bad = (why: string) => new ConnectError('url', `${why} in ${JSON.stringify(text)}: ${USE}`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw bad('no valid URL');
  }
  if (!['https:', 'wss:', 'http:', 'ws:'].includes(url.protocol)) throw bad('unknown scheme');
  // Tokens do not belong in URLs, which end up in logs.
  if (url.search || url.hash || url.username || url.password) {
    throw bad('neither a query nor a fragment nor a user name is allowed');
  }
  if (url.pathname !== '/' && url.pathname !== PATH) throw bad('no path is allowed');
  return { protocol: url.protocol, address: `${url.hostname}:${explicitPort(text) ?? DEFAULT_PORT}` };
}

/** The port that a URL's text names, even if it is the default of the scheme. */
function explicitPort(text: string): number | undefined {
  const port = /^[a-z]+:\/\/[^/]*:(\d+)(\/|$)/i.exec(text.trim())?.[1];
  return port === undefined ? undefined : Number(port);
}
