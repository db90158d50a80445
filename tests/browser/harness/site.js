/** A web server on loopback, for the pages of the tests: the SDK's build and the helpers for pages. */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDERS = {
  sdk: new URL('../../../clients/typescript/dist/', import.meta.url),
  page: new URL('./page/', import.meta.url),
};
const TYPES = { '.js': 'text/javascript', '.html': 'text/html' };
const EMPTY_PAGE = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Signalbox</title>';

export class Site {
  /** Two origins of the same site. */
  url;
  otherUrl;

  static async start(context) {
    const server = createServer(async ({ url }, response) => {
      const [, folder, file] = /^\/(sdk|page)\/([\w/-]+\.js)$/.exec(url) ?? [];
      try {
        const body = folder ? await readFile(fileURLToPath(new URL(file, FOLDERS[folder]))) : EMPTY_PAGE;
        response.setHeader('content-type', TYPES[folder ? extname(file) : '.html']);
        response.end(body);
      } catch (error) {
        response.statusCode = 404;
        response.end(`${error.message}: build clients/typescript first`);
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    context.after(() => {
      server.close();
      server.closeAllConnections();
    });
    const site = new Site();
    const { port } = server.address();
    site.url = `http://127.0.0.1:${port}/`;
    site.otherUrl = `http://localhost:${port}/`;
    return site;
  }
}
