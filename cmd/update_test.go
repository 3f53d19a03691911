package cmd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestNewerRelease(t *testing.T) {
	was := Version
	t.Cleanup(func() { Version = was })
	Version = "1.4.0"
	asked, answer, status := 0, "", http.StatusOK
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.RawQuery != "" || r.ContentLength > 0 || len(r.Cookies()) > 0 {
			t.Errorf("it sends %s and a body of %d", r.URL, r.ContentLength)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer web.Close()
	a, _, _ := signInApp(t, nil)
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	a.Now = func() time.Time { return now }

	for i, tc := range []struct {
		answer string
		status int
		want   string
	}{
		{`{"tag_name":"v1.5.0"}`, http.StatusOK, "v1.5.0"},
		{`{"tag_name":"v1.4.0"}`, http.StatusOK, ""},
		{`{"tag_name":"v1.3.9"}`, http.StatusOK, ""},
		{`{"tag_name":"v2.0.0-rc.1"}`, http.StatusOK, ""},
		{`{"tag_name":"\u001b[2Jv9"}`, http.StatusOK, ""},
		{`<html>`, http.StatusOK, ""},
		{`{"tag_name":"v1.5.0"}`, http.StatusFound, ""},
	} {
		answer, status = tc.answer, tc.status
		if got := a.newerRelease(t.Context(), web.URL); got != tc.want {
			t.Errorf("%s (%d): %q, want %q", tc.answer, tc.status, got, tc.want)
		}
		if got := a.newerRelease(t.Context(), web.URL); got != "" || asked != i+1 {
			t.Errorf("it asked %d times in %d days", asked, i+1)
		}
		now = now.Add(25 * time.Hour)
	}
}

// Pipes, scripts, CI, and builds that are no release ask nothing.
func TestNoUpdateNoticeOutsideATerminal(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it asked") }))
	defer web.Close()
	a, _, errs := signInApp(t, nil)
	a.noticeUpdate(context.Background(), web.URL)
	if got := errs.String(); got != "" {
		t.Errorf("it says %q", got)
	}
}
