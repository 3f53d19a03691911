//go:build !linux

package confine

// Main does nothing here: no process of this program becomes another.
func Main([]string) {}
