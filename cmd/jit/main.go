// Command jit gives agents just-in-time access to Snowflake. See package cmd.
package main

import (
	"context"
	"os"

	"github.com/jit-access/jit/cmd"
)

func main() {
	os.Exit(int(cmd.Main(context.Background(), os.Args[1:])))
}
