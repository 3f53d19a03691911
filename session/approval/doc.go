// Package approval is the approval server: where access is asked for, decided
// by people, granted, and taken away. It holds the upstream credentials and
// hands out nothing but session tokens.
//
// A Store has the rules and the data; a Server puts an HTTP API in front of
// it; a Client speaks that API. Store.As and Client implement the same
// interfaces of package session, and one suite of tests runs over both.
//
// Invariants:
//
//  1. Every change of state goes through Store.checkAndRecord: the check, the
//     change, its events and its audit row commit together or not at all. If a
//     refusal cannot be written to the audit, the call fails.
//  2. State moves by conditional updates on a locked row, so of two deciders,
//     redeemers or openers exactly one has effect, on SQLite and on PostgreSQL.
//  3. The requester never decides on their own request. A reviewer must satisfy
//     the policy bundle and, if the request names groups, be in one of them.
//     A statement is looked at again by the server itself (recheck.go): a broker
//     that was tampered with cannot lower what its text asks for.
//  4. A credential enters and never leaves: no call returns it, and on disk it
//     is sealed under a key that is not in the database. Upstream tokens are
//     sealed alike; the master token never leaves the server.
//  5. A broker token works for its one session and for broker calls only. Only
//     its digest is kept.
//  6. What a caller may not see is "not found", as if it did not exist.
//  7. The index of statements (search.go) holds only what the witness cosigned.
//     It finds everybody's statements for auditors, and for others their own.
//  8. A webhook message commits with the event it tells of, carries no statement
//     text, and goes to public addresses only.
//  9. No internal error text crosses the API: errors come from one table
//     (problem.go), and anything not in it is "internal".
//
// The protocol is REST with JSON, described by the OpenAPI 3.1 document that
// the server serves at /openapi.json, and server-sent events at /v1/events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
package approval
