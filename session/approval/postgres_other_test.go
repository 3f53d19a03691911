//go:build !unix

package approval

import "os/exec"

func giveAway(string) error { return nil }

func unprivileged(*exec.Cmd) {}
