// What every room here begins with: the module that it is made of, and how it is called.
//
// `node SCRIPT --version` says which version of the module would be used, if one can be.
// `node SCRIPT CERTIFICATE KEY` starts the room on a free port and says which, in its first line.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

/** The first of these modules that can be loaded. */
exports.load = (...names) => {
  const faults = [];
  for (const name of names) {
    let loaded;
    try {
      loaded = require(name);
    } catch (error) {
      faults.push(error.message.replace(/\nRequire stack:[^]*/, ''));
      continue;
    }
    if (process.argv[2] === '--version') {
      const file = path.join(__dirname, 'node_modules', name, 'package.json');
      console.log(JSON.parse(fs.readFileSync(file)).version);
      process.exit(0);
    }
    return loaded;
  }
  console.error(faults.join('\n'));
  process.exit(1);
};

exports.certificate = process.argv[2];
exports.key = process.argv[3];

/** Options of node's own HTTPS server. */
exports.tls = () => ({ cert: fs.readFileSync(exports.certificate), key: fs.readFileSync(exports.key) });
