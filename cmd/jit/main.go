// Command jit gives agents just-in-time access to Snowflake. See package cmd.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/jit-access/jit/cmd"
	"github.com/jit-access/jit/session/confine"
)

func main() {
	confine.Main(os.Args) // returns unless this process is to become a confined command
	// Libraries that log by themselves stay silent unless --verbose asks.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(int(cmd.Main(context.Background(), os.Args[1:])))
}
