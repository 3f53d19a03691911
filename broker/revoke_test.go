package broker

import (
	"strings"
	"testing"
)

// The end of a session at the server stops what runs in it: the driver is told
// why, the statement is aborted upstream, and the upstream session is closed.
func TestRevokedWhileRunning(t *testing.T) {
	r := newRig(t)
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	r.up.setAnswer(func(seenQuery) (int, string) {
		close(begun)
		<-release
		return 200, plainRow
	})
	tk := r.login()
	final := make(chan answer, 1)
	go func() { final <- r.query(tk, "", "select 1") }()
	<-begun
	r.desk.events <- sessionEnded("sess-1")
	if a := <-final; a.Success || a.Message == nil || !strings.Contains(*a.Message, "revoked") {
		t.Errorf("the driver was told %s", a.Raw)
	}
	eventually(t, "aborted upstream", func() bool { r.up.mu.Lock(); defer r.up.mu.Unlock(); return len(r.up.aborts) == 1 })
	eventually(t, "closed upstream", func() bool { r.account.mu.Lock(); defer r.account.mu.Unlock(); return len(r.account.closed) == 1 })
}
