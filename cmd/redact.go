package cmd

import (
	"os"
	"regexp"
	"strings"
)

// secretFlag and secretValue find what looks like a secret in a command line
// that reviewers will read and recordings will keep. This protects a user who
// passed one to the agent by habit; it decides nothing.
var (
	secretFlag  = regexp.MustCompile(`(?i)^--?[a-z0-9_-]*(password|passwd|passphrase|token|secret|api-?key|private-?key|credential)[a-z0-9_-]*$`)
	secretPair  = regexp.MustCompile(`(?i)^(-{0,2}[a-z0-9_-]*(?:password|passwd|passphrase|token|secret|api-?_?key|private-?_?key|credential)[a-z0-9_-]*=).+`)
	secretValue = regexp.MustCompile(`^(sk-|ghp_|gho_|github_pat_|xox[abp]-|AKIA|eyJ[A-Za-z0-9_-]{10,}\.)|-----BEGIN|://[^/@\s]+:[^/@\s]+@`)
)

const redactedArg = "[redacted]"

// redactCommand returns argv with secrets replaced and long arguments cut.
func redactCommand(argv []string) []string {
	out := make([]string, len(argv))
	hideNext := false
	for i, arg := range argv {
		switch {
		case hideNext || secretValue.MatchString(arg):
			out[i] = redactedArg
		case secretPair.MatchString(arg):
			out[i] = secretPair.FindStringSubmatch(arg)[1] + redactedArg
		default:
			out[i] = cut(arg, 500)
		}
		hideNext = secretFlag.MatchString(arg)
	}
	return out
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func hostname() string {
	h, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return h
}
