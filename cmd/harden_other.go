//go:build !linux

package cmd

// harden does nothing here; docs/THREAT-MODEL.md says what that means.
func harden() error { return nil }
