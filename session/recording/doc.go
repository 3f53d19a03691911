// Package recording keeps the account of one session: every statement, verdict,
// decision and result, one JSON line each, in a log whose lines cannot be
// changed, dropped or reordered unnoticed.
//
// A recording is a folder:
//
//	session.json  who, where, until when, and the keys; hashed into event 0
//	events.jsonl  one event per line; every line is a leaf of an RFC 6962 tree
//	checkpoint    (origin, size, root hash) signed by the session key
//	cosig         the same note, cosigned by the approval server as a witness
//
// FORMAT.md gives the grammar to the byte. Trees are golang.org/x/mod/sumdb/tlog,
// notes golang.org/x/mod/sumdb/note (C2SP signed-note, tlog-checkpoint and
// tlog-cosignature).
//
// Invariants:
//
//  1. Append returns nil only after the event is on disk. A crash before that
//     may leave the line whole, torn or absent; nobody was told it exists.
//  2. After one failed write or sync no Append succeeds again: what cannot be
//     recorded must not happen.
//  3. A Reader yields an event only if a signed checkpoint covers it and the
//     bytes it decodes are the bytes it hashed. There is no unverified path.
//  4. A Witness cosigns a checkpoint only if it computed the same root itself,
//     over the bytes that it was sent, on top of the bytes it saw before.
//  5. Losing the witness or the server loses no data: what is missing there is
//     sent again, and until then it is counted as unwitnessed.
package recording
