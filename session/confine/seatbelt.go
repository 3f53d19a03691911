package confine

import (
	"slices"
	"strconv"
	"strings"
)

// services are what acts for whoever asks, outside of the profile: the keychain,
// LaunchServices (`open`), launchd's job submission and the pasteboard's kin.
var services = []string{
	"com.apple.SecurityServer", "com.apple.securityd.xpc", "com.apple.security.agent", "com.apple.secd",
	"com.apple.coreservices.launchservicesd", "com.apple.lsd.mapdb", "com.apple.coreservices.appleevents",
}

// seatbelt is the profile of plan, in Apple's undocumented language (SBPL), as
// /System/Library/Sandbox/Profiles uses it. The last rule that matches counts.
func seatbelt(plan Plan) string {
	var b strings.Builder
	b.WriteString("(version 1)\n(allow default)\n")
	paths := func(allowing bool, what string, list []string) {
		for _, path := range list {
			verb := "deny"
			if allowing {
				verb = "allow"
			}
			b.WriteString("(" + verb + " " + what + " (subpath " + strconv.Quote(path) + "))\n")
		}
	}
	paths(false, "file-read* file-write*", plan.hidden())
	for _, path := range plan.hidden() {
		b.WriteString("(deny network-outbound (remote unix-socket (subpath " + strconv.Quote(path) + ")))\n")
	}
	paths(true, "file-read* file-write*", plan.Keep)
	paths(true, "file-read*", plan.KeepReadOnly)
	for _, name := range slices.Sorted(slices.Values(services)) {
		b.WriteString("(deny mach-lookup (global-name " + strconv.Quote(name) + "))\n")
	}
	b.WriteString("(deny mach-priv-task-port)\n(deny process-info* (target others))\n(deny signal (target others))\n(deny appleevent-send)\n(deny lsopen)\n")
	return b.String()
}
