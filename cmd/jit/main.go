// Command jit gives agents just-in-time access to Snowflake. See package cmd.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/jit-access/jit/cmd"
)

func main() {
	// Libraries that log by themselves stay silent unless --verbose asks.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(int(cmd.Main(context.Background(), os.Args[1:])))
}
