package terminal

import (
	"os"
	"os/exec"
)

// Size is how many cells a terminal has.
type Size struct{ Cols, Rows int }

// Command is a command to be run on a terminal of its own.
type Command struct {
	Self         []string        // how to start the leader: the program and its arguments before those of the command
	Prepare      func(*exec.Cmd) // done to the leader before it starts; nil: nothing
	Path         string
	Args         []string // the first is the command's name
	Env          []string
	In, Out, Err *os.File        // the terminals among them become the new one
	Kill         <-chan struct{} // closing it kills the command; nil: never
	Started      func(pid int)
	Shown        func([]byte) // what the command shows, in pieces
	Resized      func(Size)
}

// Ended is how a command ended.
type Ended struct {
	Code   int // its own; meaningless if a signal killed it
	Signal int // 0: none
}

// StartError means that the command could not be started.
type StartError struct {
	Text    string // the system's words
	Missing bool   // there is no such file
}

func (e *StartError) Error() string { return e.Text }

// message is what leader and jit tell each other, as JSON.
type message struct {
	Started  int    `json:"started,omitempty"` // process id
	Stopped  bool   `json:"stopped,omitempty"`
	Continue bool   `json:"continue,omitempty"`
	Ended    *Ended `json:"ended,omitempty"`
	Error    string `json:"error,omitempty"`
	Missing  bool   `json:"missing,omitempty"`
}
