package cmd

import (
	"context"
	"os/exec"
	"runtime"

	"github.com/jit-access/jit/session/identity"
)

// browse opens the sign-in page on this machine. That it cannot is no error:
// the code on the screen works anywhere.
func (a *App) browse(ctx context.Context, p identity.Prompt) {
	url := p.CompleteURL
	if url == "" {
		url = p.URL
	}
	// identity has made sure that it is an http(s) URL, so never an option.
	opener := []string{"xdg-open", url}
	switch runtime.GOOS {
	case "darwin":
		opener = []string{"open", url}
	case "windows":
		opener = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	}
	c := exec.CommandContext(context.WithoutCancel(ctx), opener[0], opener[1:]...) //nolint:gosec // a fixed program
	if err := c.Start(); err != nil {
		a.say("No browser could be opened here (%v); use the code above.", err)
		return
	}
	go func() { _ = c.Wait() }() // reaps the opener; how it ends tells nothing
}
