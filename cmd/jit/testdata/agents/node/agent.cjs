// The Node half of the end-to-end suite: an agent that knows nothing of jit.
// createConnection() with no arguments reads connections.toml, as any program
// would. Steps and lines are those of goagent.
//
// Usage: node agent.cjs STEPS.json   (NODE_PATH names the folder of packages)
'use strict';
const fs = require('node:fs');
const crypto = require('node:crypto');
const snowflake = require('snowflake-sdk');

snowflake.configure({ logLevel: 'OFF', additionalLogToConsole: false });

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function awaitFile(file) {
  const deadline = Date.now() + 300_000;
  while (file && !fs.existsSync(file)) {
    if (Date.now() > deadline) throw new Error(`${file} never appeared`);
    await sleep(20);
  }
}

// A cell as text; exact: with its type.
function text(value, exact) {
  if (value === null || value === undefined) return null;
  if (exact) return `${value.constructor ? value.constructor.name : typeof value} ${text(value)}`;
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

function describe(err) {
  return {
    class: err.name || '',
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

// Runs one statement; the result is the statement, which carries what it found.
function execute(conn, step, options) {
  return new Promise((resolve, reject) => {
    let timer;
    let over = false;
    const statement = conn.execute({
      ...options,
      rowMode: 'array',
      complete: (err, stmt, rows) => {
        over = true;
        clearTimeout(timer);
        err ? reject(err) : resolve({ stmt, rows: rows || [] });
      },
    });
    const cancel = () => over || statement.cancel(() => {});
    if (step.cancel_after_ms) timer = setTimeout(cancel, step.cancel_after_ms);
    if (step.cancel_file) awaitFile(step.cancel_file).then(cancel);
  });
}

// All rows of a request of several statements: the driver calls complete for
// each of them.
function executeAll(conn, step) {
  return new Promise((resolve, reject) => {
    const all = [];
    conn.execute({
      sqlText: step.sql,
      parameters: { MULTI_STATEMENT_COUNT: step.multi },
      rowMode: 'array',
      complete: (err, stmt, rows) => {
        if (err) return reject(err);
        all.push(...(rows || []));
        if (stmt.hasNext()) stmt.NextResult();
        else resolve({ stmt, rows: all });
      },
    });
  });
}

async function run(conn, step) {
  if (step.bulk) {
    const binds = Array.from({ length: step.bulk }, (_, i) => [i + 1, `note ${i + 1}`]);
    return execute(conn, step, { sqlText: step.sql, binds });
  }
  if (step.multi) {
    return executeAll(conn, step);
  }
  if (step.async) {
    const sent = await execute(conn, step, { sqlText: step.sql, asyncExec: true });
    const queryId = sent.stmt.getQueryId();
    const statement = await conn.getResultsFromQueryId({ queryId, sqlText: step.sql, rowMode: 'array' });
    return new Promise((resolve, reject) => {
      const rows = [];
      statement.streamRows().on('error', reject).on('data', (row) => rows.push(row)).on('end', () => resolve({ stmt: statement, rows }));
    });
  }
  return execute(conn, step, { sqlText: step.sql, binds: step.binds && step.binds.length ? step.binds : undefined });
}

function column(c, exact) {
  if (!exact) return { name: c.getName(), type: c.getType() };
  return { name: c.getName(), type: [c.getType(), c.getPrecision(), c.getScale(), c.isNullable()].join(' ') };
}

// A SHA-256 per column, over each cell and a line break; NULL is a zero byte.
function digests(rows, width) {
  const sums = Array.from({ length: width }, () => crypto.createHash('sha256'));
  for (const row of rows) {
    for (let i = 0; i < width; i++) {
      const cell = text(row[i]);
      sums[i].update(cell === null ? '\0\n' : cell + '\n');
    }
  }
  return sums.map((s) => s.digest('hex'));
}

async function query(conn, step) {
  const { stmt, rows } = await run(conn, step);
  const columns = (stmt.getColumns() || []).map((c) => column(c, step.exact));
  if (step.digest) return { columns, count: rows.length, digests: digests(rows, columns.length) };
  return { columns, rows: step.bulk ? [] : rows.map((row) => (Array.isArray(row) ? row : Object.values(row)).map((v) => text(v, step.exact))) };
}

// The driver throws where nobody can catch it when it cannot read a value; the
// step that runs has failed then.
let failed = () => {};
process.on('uncaughtException', (err) => failed(err));

async function main() {
  const steps = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
  let conn;
  for (const [i, step] of steps.entries()) {
    const began = Date.now();
    const line = { step: i, sql: step.sql || '', columns: null, rows: null, error: null };
    if (step.touch_file) fs.writeFileSync(step.touch_file, '');
    await awaitFile(step.wait_file);
    if (step.sql) {
      try {
        if (step.reconnect) conn = undefined;
        conn ??= await connect();
        Object.assign(line, await Promise.race([query(conn, step), new Promise((_, reject) => (failed = reject))]));
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
