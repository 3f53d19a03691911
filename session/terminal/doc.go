// Package terminal runs a command on a pseudo-terminal of its own, so that what it
// shows can be recorded, and writes that as asciicast v3
// (https://docs.asciinema.org/manual/asciicast/v3/).
//
// Invariants:
//
//  1. The command cannot tell: its standard streams are a terminal where they
//     would have been one, and what they were where not; size, settings, job
//     control and signals are as without.
//  2. What is typed is not recorded; only what is shown.
//  3. Known secrets are starred out before anything reaches the file, also if they
//     are written in pieces, or with control sequences between their characters.
//  4. The person's terminal is given back as it was, whatever happens.
//
// A shell stops a job only if the job's parent lives in another process group of
// the same session. The command therefore has a leader between itself and jit: a
// second process of jit that leads the new session, starts the command in its
// foreground, and tells jit when the command stops (see Lead).
package terminal
