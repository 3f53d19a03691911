//go:build e2e

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// upstream is a Snowflake for the suite. jit reaches it through tap; direct
// runs, which show what the drivers see without jit, through direct.
type upstream struct {
	name   string
	tap    *tap
	direct *tap
}

func (t *tap) host() string { return t.address().Hostname() }
func (t *tap) port() string { return t.address().Port() }

func (t *tap) address() *url.URL {
	u, err := url.Parse(t.URL)
	if err != nil {
		panic(fmt.Sprintf("httptest made the URL %q: %v", t.URL, err))
	}
	return u
}

func newUpstream(name, target string) (*upstream, error) {
	through, err := newTap(target, false)
	if err != nil {
		return nil, err
	}
	direct, err := newTap(target, true)
	return &upstream{name: name, tap: through, direct: direct}, err
}

// seed is the same data for every upstream; WireMock's stubs hold it too.
var seed = []string{
	`create or replace table app.public.customers (id number(38,0), name varchar, email varchar, phone varchar, ssn varchar, country varchar)`,
	`insert into app.public.customers values
	 (1, 'Ann Archer', 'ann.archer@example.com', '+1 202 555 0101', '078-05-1120', 'US'),
	 (2, 'Ben Böhm', 'ben.boehm@example.org', NULL, '219-09-9999', 'DE'),
	 (3, NULL, NULL, '+44 20 7946 0103', NULL, NULL)`,
	`create or replace table app.public.orders (id number(38,0), customer_id number(38,0), amount number(12,2), placed date, paid boolean, note varchar)`,
	`insert into app.public.orders values
	 (1, 1, 12.50, '2024-10-04', true, 'first'),
	 (2, 2, -0.05, '2026-01-01', false, 'zweite, größer'),
	 (3, 1, NULL, NULL, NULL, NULL)`,
	`create or replace table app.public.scratch (id number(38,0), note varchar)`,
	`insert into app.public.scratch values (1, 'x')`,
}

// planted are the planted values that no masked answer, log, recording or error
// may hold.
var planted = []string{"ann.archer", "ben.boehm", "078-05-1120", "219-09-9999", "202 555"}

func (w *world) startUpstreams(ctx context.Context) error {
	for _, begin := range []func(context.Context) error{w.startFakesnow, w.startWireMock, w.startSandbox} {
		if err := begin(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) startFakesnow(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	p, err := start("fakesnow", plainEnv(w.dir), nil, w.part("fakesnow/bin/fakesnow"), "-s", "-p", fmt.Sprint(port))
	if err != nil {
		return err
	}
	target := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := p.await(ctx, "answer", answers(target+"/")); err != nil {
		return err
	}
	if w.fakesnow, err = newUpstream("fakesnow", target); err != nil {
		return err
	}
	return plant(ctx, target, seed)
}

func (w *world) startWireMock(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	p, err := start("WireMock", plainEnv(w.dir), nil, "java", "-Xmx128m",
		"-jar", w.part("node/node_modules/wiremock/build/wiremock-standalone-3.13.2.jar"),
		"--bind-address", "127.0.0.1", "--port", fmt.Sprint(port), "--root-dir", w.testdata("wiremock"), "--disable-banner")
	if err != nil {
		return err
	}
	target := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := p.await(ctx, "answer", answers(target+"/__admin/health")); err != nil {
		return err
	}
	w.wiremock, err = newUpstream("wiremock", target)
	return err
}

// answers reports whether a URL answers at all.
func answers(url string) func() bool {
	return func() bool {
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		res.Body.Close()
		return true
	}
}

// plant runs statements at an upstream, without a driver and without jit.
func plant(ctx context.Context, target string, sql []string) error {
	call := func(path, token string, body, answer any) error {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+path, bytes.NewReader(text))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/snowflake")
		if token != "" {
			req.Header.Set("Authorization", `Snowflake Token="`+token+`"`)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		var envelope struct {
			Data    json.RawMessage `json:"data"`
			Success bool            `json:"success"`
		}
		if err := json.Unmarshal(raw, &envelope); err != nil || !envelope.Success {
			return fmt.Errorf("%s answered %d: %s", path, res.StatusCode, raw)
		}
		if answer == nil {
			return nil
		}
		return json.Unmarshal(envelope.Data, answer)
	}
	var login struct {
		Token string `json:"token"`
	}
	who := map[string]any{"data": map[string]any{
		"LOGIN_NAME": directUser, "PASSWORD": directPassword, "ACCOUNT_NAME": account, "SESSION_PARAMETERS": map[string]any{},
	}}
	if err := call("/session/v1/login-request?databaseName=APP&schemaName=PUBLIC", "", who, &login); err != nil {
		return err
	}
	for i, s := range sql {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		if err := call("/queries/v1/query-request?requestId="+id, login.Token, map[string]any{"sqlText": s, "sequenceId": i + 1}, nil); err != nil {
			return fmt.Errorf("planting %.40q: %w", s, err)
		}
	}
	return call("/session?delete=true", login.Token, struct{}{}, nil)
}

// assertNothingClear fails if text holds a planted value.
func assertNothingClear(t *testing.T, where, text string) {
	t.Helper()
	for _, value := range planted {
		if strings.Contains(text, value) {
			t.Errorf("%s holds the planted value %q", where, value)
		}
	}
}
