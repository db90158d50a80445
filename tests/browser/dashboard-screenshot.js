/**
 * Makes the pictures of the dashboard for Grafana in docs: a gateway with some clients, and a
 * Prometheus that scrapes it. Grafana is not needed: this draws the panels of the dashboard's JSON
 * itself, with what Prometheus answers to their queries, so the look is not Grafana's. The gateway is
 * SIGNALBOX_BIN.
 *
 *     node dashboard-screenshot.js DIRECTORY
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

import { draw } from './harness/dashboard.js';
import { Gateway } from './harness/gateway.js';
import { launch } from './harness/launch.js';
import { QuicClient } from './harness/quic-client.js';

const DASHBOARD = new URL('../../deploy/grafana/signalbox.json', import.meta.url);
/** Rounds of signals, and the time between two: the charts show this time. */
const ROUNDS = 150;
const ROUND_MS = 1000;
/** The panels above this row of the dashboard's grid. */
const ROWS = 38;

const directory = process.argv[2];
if (!directory) throw new Error('usage: node dashboard-screenshot.js DIRECTORY');

const ends = [];
const context = { after: (end) => ends.push(end) };

/** Clients over all transports that talk, come and go, for some minutes. */
async function traffic(gateway, browser) {
  const sessions = Array.from({ length: 3 }, () => gateway.newSession());
  const join = (index) =>
    QuicClient.join(context, gateway, { session: sessions[index % 3], role: 'moderator', data: `user-${index}` });
  const clients = await Promise.all(Array.from({ length: 9 }, (_, index) => join(index)));
  for (const transport of ['WebTransport', 'WebSocket', 'WebSocket']) {
    const page = await (await browser.newContext()).newPage();
    await page.goto(gateway.page);
    await page.locator('#state[data-state=connected]').waitFor();
    await page.getByRole('radio', { name: transport }).check({ force: true });
  }
  for (let round = 0; round < ROUNDS; round++) {
    const wave = 8 + Math.round(6 * Math.sin(round / 12));
    for (const client of clients) client.sendAll(Array.from({ length: wave }, (_, number) => `signal ${number}`));
    // The first three are one in each session, and stay.
    if (round % 15 === 7) clients.push(await join(round));
    if (round % 20 === 13) {
      const [gone] = clients.splice(3, 1);
      for (const moderator of clients.slice(0, 3)) moderator.kick(gone.id);
    }
    await wait(ROUND_MS);
  }
}

/** Starts Prometheus. Returns its address. */
async function prometheus(target) {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-'));
  writeFileSync(
    join(folder, 'prometheus.yml'),
    `scrape_configs: [{ job_name: signalbox, scrape_interval: 1s, static_configs: [{ targets: ['${target}'] }] }]\n`,
  );
  const files = ['--config.file', join(folder, 'prometheus.yml'), '--storage.tsdb.path', join(folder, 'data')];
  const child = spawn('prometheus', [...files, '--web.listen-address', '127.0.0.1:0', '--log.format', 'json'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  context.after(async () => {
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    exited.then(() => reject(new Error('prometheus has ended')), reject);
    createInterface(child.stderr).on('line', (line) => {
      const { msg, address } = JSON.parse(line);
      if (msg === 'Listening on') resolve(address);
    });
  });
}

/** The series of a query over the last minutes: a name for the legend, and points of time and value. */
async function answer(address, { expr, legendFormat }, { start, end }) {
  const query = expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '10s');
  const range = new URLSearchParams({ query, start, end, step: 1 });
  const response = await fetch(`http://${address}/api/v1/query_range?${range}`);
  if (!response.ok) throw new Error(`${query}: ${await response.text()}`);
  const { data } = await response.json();
  return data.result.map(({ metric, values }) => ({
    name: legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label]),
    points: values.map(([time, value]) => [time, Number(value)]).filter(([, value]) => Number.isFinite(value)),
  }));
}

try {
  const gateway = await Gateway.start(context, { SIGNALBOX_NAME: 'gw-1' });
  const address = await prometheus(gateway.ops);
  const browser = await launch('chromium');
  context.after(() => browser.close());
  await traffic(gateway, browser);

  const end = Math.floor(Date.now() / 1000);
  const time = { start: end - (ROUNDS * ROUND_MS) / 1000, end };
  const { title, panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8'));
  const shown = panels.filter(({ gridPos }) => gridPos.y < ROWS);
  for (const panel of shown) {
    const answers = await Promise.all((panel.targets ?? []).map((target) => answer(address, target, time)));
    panel.series = answers.flat();
  }
  for (const scheme of ['light', 'dark']) {
    const page = await (await browser.newContext({ viewport: { width: 1400, height: 100 }, colorScheme: scheme })).newPage();
    await page.setContent(draw(title, shown, time));
    const picture = `${directory}/dashboard-${scheme}.png`;
    await page.screenshot({ path: picture, fullPage: true });
    console.log(picture);
  }
} finally {
  for (const end of ends.reverse()) await end();
}
