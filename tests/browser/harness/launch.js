/** The installed browsers, started without a window. */

import { execFileSync } from 'node:child_process';

import { chromium, firefox } from 'playwright-core';

/** The path of the first of these programs that is installed. */
export function path(...programs) {
  const script = programs.map((it) => `command -v ${it}`).join(' || ');
  return execFileSync('sh', ['-c', script], { encoding: 'utf8' }).trim();
}

const LAUNCH = {
  chromium: (options) =>
    chromium.launch({
      ...options,
      executablePath: path('chromium'),
      // As users have it.
      ignoreDefaultArgs: ['--disable-back-forward-cache'],
    }),
  // Over WebDriver BiDi, as only a patched Firefox speaks the library's own protocol. A version of the
  // library may need a newer Firefox than the extended support release.
  firefox: (options) => firefox.launch({ ...options, channel: 'moz-firefox', executablePath: path('firefox-esr', 'firefox') }),
};

/** The names of the browsers. */
export const BROWSERS = Object.keys(LAUNCH);

/** Starts a browser; `options` are those of the automation library. */
export function launch(name, options) {
  return LAUNCH[name](options);
}
