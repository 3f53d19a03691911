// Package sandbox is a small Snowflake-compatible server on an embedded SQLite
// database, for `jit demo` and for tests.
//
// What it is: the driver endpoints (login, renew, heartbeat, delete, query,
// abort, result by id, monitoring, telemetry) with the envelopes, codes and
// result shapes drivers expect, over a useful part of Snowflake's SQL: queries,
// INSERT/UPDATE/DELETE, the DDL of databases, schemas, tables and views, USE,
// SHOW, DESCRIBE, ALTER SESSION, transactions, binds, multi-statement requests,
// asynchronous execution, cancellation, JSON, Arrow and chunked results.
//
// What it is not: Snowflake. It has no privileges (a role is a name; GRANT is
// answered and forgotten), no stages, no scripting, no time travel, 64-bit
// integers and floating-point decimals, and one engine's idea of SQL translated
// from another's. Results are kept for as long as the server lives. It was written by the authors of the
// program it helps to show, so it is never evidence that a driver works.
//
// Invariants:
//
//  1. Credentials are really checked: a password in constant time, a key-pair
//     JWT by signature, issuer, subject and lifetime.
//  2. A requestId is executed at most once per session; a repeat gets the
//     first execution's answer.
//  3. What it does not understand is a Snowflake error, never an approximation
//     that changes data. SQLite's own ATTACH, PRAGMA and VACUUM cannot be
//     reached by a statement.
//  4. All data is synthetic and lives in a private temporary folder that Close
//     removes.
package sandbox
