// Package replay reads a recording back as people think of it: statements, each
// with what was ruled, asked, decided and returned.
//
// Invariants:
//
//  1. Everything shown comes out of a recording.Reader, which verified it.
//  2. Text that an agent, a driver or a server supplied passes Visible before it
//     reaches a terminal: nothing in a recording can move a cursor, hide, or
//     reorder what is read.
//  3. Opening reads each byte once and keeps no event; statements are indexed in
//     batches, so that the first screen does not wait for the last statement.
package replay
