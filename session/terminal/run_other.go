//go:build !unix

package terminal

import "errors"

var errUnsupported = errors.New("this system has no pseudo-terminals that jit could record")

// Run is not supported here.
func Run(Command) (Ended, error) { return Ended{}, errUnsupported }

// Lead is not supported here.
func Lead(string, []string) error { return errUnsupported }

// HostSize is not supported here.
func HostSize() (Size, error) { return Size{}, errUnsupported }
