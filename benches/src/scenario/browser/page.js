// A page that is measured: sessions that send to one receiver, and when its signals arrive.

/** Timers of a browser are late by a millisecond or two; the rest of a wait is spent in tasks. */
const TIMER_MS = 4;

const DATA_BYTES = 128;

/** Events after which a measurement is void. */
const VOID = ['sessionReconnecting', 'sessionDisconnected'];

function post(path, body) {
  return fetch(path, { method: 'POST', body });
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const channel = new MessageChannel();

/** Lets the browser do other work, for much less time than a timer takes. */
function breathe() {
  return new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });
}

async function until(at) {
  const coarse = at - performance.now() - TIMER_MS;
  if (coarse > 0) await sleep(coarse);
  while (performance.now() < at) await breathe();
}

/** The promise of the times at which all signals have arrived, and how to make it fail. */
function arrivals(sessions, receiver, count, silenceMs) {
  const times = [];
  let received = 0;
  let fail;
  const all = new Promise((resolve, reject) => {
    fail = reject;
    const silent = () => reject(new Error(`nothing arrived for ${silenceMs} ms, after ${received} of ${count} signals`));
    let timer = setTimeout(silent, silenceMs);
    for (const session of sessions) {
      for (const name of VOID) session.on(name, (event) => reject(new Error(`${name}: ${JSON.stringify(event)}`)));
    }
    receiver.on('signal', ({ data }) => {
      const at = performance.now();
      const index = Number(data);
      if (!(index < count) || times[index] !== undefined) reject(new Error(`an unexpected signal: ${data}`));
      times[index] = at;
      clearTimeout(timer);
      timer = setTimeout(silent, silenceMs);
      received += 1;
      if (received === count) {
        clearTimeout(timer);
        resolve(times);
      }
    });
  });
  // A failure is thrown where the promise is awaited, which may be later.
  all.catch(() => {});
  return { all, fail };
}

async function measure() {
  const task = await (await fetch('/task')).json();
  const { connect } = await import('/sdk/index.js');
  const join = async () => {
    const session = await connect(task.url, task.token, {
      transports: [task.transport],
      serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(task.certificateSha256) }],
      presence: false,
      rejoin: false,
      agent: task.agent,
    });
    if (session.transport !== task.transport) throw new Error(`joined over ${session.transport}`);
    return session;
  };
  const receiver = await join();
  const senders = [];
  while (senders.length < task.senders) senders.push(await join());
  const sessions = [receiver, ...senders];
  const { all, fail } = arrivals(sessions, receiver, task.signals.length, task.silenceMs);
  const to = receiver.connection.id;
  const start = performance.now() + task.pauseMs;
  const sent = [];
  for (const [index, [sender, dueMs]] of task.signals.entries()) {
    await until(start + dueMs);
    if (index === task.firstMeasured) void post('/begun');
    sent.push(performance.now());
    senders[sender].signal({ data: String(index).padStart(DATA_BYTES, '0'), to }).catch(fail);
  }
  const times = await all;
  await Promise.all(sessions.map((session) => session.disconnect()));
  return task.signals.map(([, dueMs], index) => ({
    dueMs,
    sentMs: sent[index] - start,
    arrivedMs: times[index] - start,
  }));
}

measure().then(
  (signals) => post('/ended', JSON.stringify({ measured: signals })),
  (error) => post('/ended', JSON.stringify({ failed: String(error) })),
);
