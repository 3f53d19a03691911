package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/semver"

	"github.com/jit-access/jit/replay"
)

// UpdateURL answers with the newest release as JSON, {"tag_name": "v1.2.3"}. The
// linker sets it in releases; a build without it never asks.
var UpdateURL string

const (
	updateEvery   = 24 * time.Hour
	updateTimeout = 2 * time.Second
)

// noticeUpdate says that there is a newer release: in a terminal, once a day at
// most, never in the way of what was asked for. It sends nothing but the request.
func (a *App) noticeUpdate(ctx context.Context, url string) {
	if url == "" || !semver.IsValid(release(Version)) || a.Getenv("JIT_NO_UPDATE_CHECK") != "" || a.Getenv("CI") != "" || !a.interactive() || !a.outIsTerminal() {
		return
	}
	if newer := a.newerRelease(ctx, url); newer != "" {
		a.say("jit %s is out; this is %s. (JIT_NO_UPDATE_CHECK=1 stops this notice.)", newer, replay.VisibleLine(Version))
	}
}

// newerRelease asks at most once a day, and answers "" for anything but a
// release that is newer.
func (a *App) newerRelease(ctx context.Context, url string) string {
	stamp := filepath.Join(a.Paths.State, "update-asked")
	info, err := os.Stat(stamp)
	switch {
	case err == nil && a.Now().Sub(info.ModTime()).Abs() < updateEvery:
		return ""
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return ""
	}
	// Noted before asking: a network without an answer is not asked again today.
	if err := os.MkdirAll(a.Paths.State, 0o700); err != nil {
		return ""
	}
	if err := os.WriteFile(stamp, nil, 0o600); err != nil {
		return ""
	}
	if err := os.Chtimes(stamp, a.Now(), a.Now()); err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	answer, err := get(ctx, url)
	if err != nil || answer.code != http.StatusOK {
		return ""
	}
	var latest struct {
		Tag string `json:"tag_name"`
	}
	if err := json.Unmarshal(answer.body, &latest); err != nil || !semver.IsValid(latest.Tag) || semver.Prerelease(latest.Tag) != "" {
		return ""
	}
	if semver.Compare(latest.Tag, release(Version)) <= 0 {
		return ""
	}
	return semver.Canonical(latest.Tag)
}

// release is a version as semver writes it, with the v.
func release(version string) string {
	if version != "" && version[0] != 'v' {
		return "v" + version
	}
	return version
}
