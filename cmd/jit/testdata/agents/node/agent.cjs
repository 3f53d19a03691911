// The Node half of the end-to-end suite: an agent that knows nothing of jit.
// createConnection() with no arguments reads connections.toml, as any program
// would. Steps and lines are those of goagent.
//
// Usage: node agent.cjs STEPS.json   (NODE_PATH names the folder of packages)
'use strict';
const fs = require('node:fs');
const snowflake = require('snowflake-sdk');

snowflake.configure({ logLevel: 'OFF', additionalLogToConsole: false });

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function pause(step) {
  if (step.touch_file) fs.writeFileSync(step.touch_file, '');
  const deadline = Date.now() + 120_000;
  while (step.wait_file && !fs.existsSync(step.wait_file)) {
    if (Date.now() > deadline) throw new Error(`${step.wait_file} never appeared`);
    await sleep(20);
  }
}

function text(value) {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

function describe(err) {
  return {
    code: err.code === undefined ? '' : String(err.code),
    sqlstate: err.sqlState === undefined ? '' : String(err.sqlState),
    message: err.message || String(err),
  };
}

function connect() {
  return new Promise((resolve, reject) => {
    const conn = snowflake.createConnection();
    conn.connect((err) => (err ? reject(err) : resolve(conn)));
  });
}

function query(conn, step) {
  return new Promise((resolve, reject) => {
    let timer;
    const statement = conn.execute({
      sqlText: step.sql,
      binds: step.binds && step.binds.length ? step.binds : undefined,
      rowMode: 'array',
      complete: (err, stmt, rows) => {
        clearTimeout(timer);
        if (err) return reject(err);
        const columns = (stmt.getColumns() || []).map((c) => ({ name: c.getName(), type: c.getType() }));
        resolve({ columns, rows: (rows || []).map((row) => row.map(text)) });
      },
    });
    if (step.cancel_after_ms) timer = setTimeout(() => statement.cancel(() => {}), step.cancel_after_ms);
  });
}

async function main() {
  const steps = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  let conn;
  for (const [i, step] of steps.entries()) {
    const began = Date.now();
    const line = { step: i, sql: step.sql || '', columns: null, rows: null, error: null };
    await pause(step);
    if (step.sql) {
      try {
        if (step.reconnect) conn = undefined;
        conn ??= await connect();
        Object.assign(line, await query(conn, step));
      } catch (err) {
        line.error = describe(err);
      }
    }
    line.ms = Date.now() - began;
    fs.writeSync(1, JSON.stringify(line) + '\n');
  }
  if (conn) await new Promise((resolve) => conn.destroy(() => resolve()));
}

main().then(() => process.exit(0), (err) => {
  console.error('node agent:', err);
  process.exit(3);
});
