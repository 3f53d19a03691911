package tui

import (
	"strings"

	"github.com/jit-access/jit/replay"
)

// sanitize makes text of others safe to draw on one line: escape sequences,
// control, bidi and zero-width characters, line ends too, show as ‹U+001B›.
func sanitize(s string) string {
	return strings.ReplaceAll(replay.Visible(s), "\n", "‹U+000A›")
}
