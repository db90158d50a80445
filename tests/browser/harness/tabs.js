/**
 * Tabs of one Chromium window, without the automation library: it makes every page believe that it is in
 * front.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { path } from './launch.js';

export class Tabs {
  #pipe;
  #waiting = new Map();
  #rest = '';

  /** Starts Chromium. It ends with the test. */
  static async start(context, ...args) {
    const profile = mkdtempSync(join(tmpdir(), 'signalbox-'));
    const child = spawn(
      path('chromium'),
      ['--headless=new', '--no-sandbox', '--remote-debugging-pipe', `--user-data-dir=${profile}`, ...args],
      // It reads commands from descriptor 3, and answers on 4.
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    const exited = once(child, 'exit');
    context.after(async () => {
      child.kill();
      await exited;
      rmSync(profile, { recursive: true, force: true });
    });
    const tabs = new Tabs();
    tabs.#pipe = child.stdio[3];
    child.stdio[4].on('data', (data) => tabs.#read(String(data)));
    return tabs;
  }

  /** Opens a page in a new tab, which comes to the front. */
  async open(url) {
    const { targetId } = await this.send('Target.createTarget', { url });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    return new Tab(this, targetId, sessionId);
  }

  /** Calls a method of the DevTools protocol. */
  async send(method, params, sessionId) {
    const id = this.#waiting.size + 1;
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#pipe.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { result, error } = await answer;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  #read(data) {
    const messages = (this.#rest + data).split('\0');
    this.#rest = messages.pop();
    for (const message of messages) {
      const answer = JSON.parse(message);
      this.#waiting.get(answer.id)?.(answer);
    }
  }
}

class Tab {
  #tabs;
  #target;
  #session;

  constructor(tabs, target, session) {
    this.#tabs = tabs;
    this.#target = target;
    this.#session = session;
  }

  /** Evaluates an expression in the page, and waits for its value. */
  async run(expression) {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.#tabs.send('Runtime.evaluate', params, this.#session);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Comes to the front. The others are hidden then. */
  async show() {
    await this.#tabs.send('Target.activateTarget', { targetId: this.#target });
  }
}
