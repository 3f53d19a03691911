package approval

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/hashivault" // as jit links it
	"gocloud.dev/secrets/localsecrets"

	"github.com/jit-access/jit/policy"
	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/secret"
)

// A value opens for its own row, and only whole.
func TestSealedValue(t *testing.T) {
	ctx := t.Context()
	e := must[*sealer](t)(openSealer(ctx, t.TempDir(), ""))
	sealed := must[[]byte](t)(e.seal(ctx, "connection prod", plantedPassword))
	if strings.Contains(string(sealed), plantedPassword) {
		t.Fatal("the value stands in what is sealed")
	}
	var got string
	if err := e.open(ctx, "connection prod", sealed, &got); err != nil || got != plantedPassword {
		t.Fatalf("opened %q, %v", got, err)
	}
	if err := e.open(ctx, "connection other", sealed, &got); err == nil {
		t.Error("it opened for another row")
	}
	for i := range sealed {
		if err := e.open(ctx, "connection prod", sealed[:i], &got); err == nil {
			t.Fatalf("it opened with %d of its %d bytes", i, len(sealed))
		}
		bad := slices.Clone(sealed)
		bad[i] ^= 1
		if err := e.open(ctx, "connection prod", bad, &got); err == nil {
			t.Fatalf("it opened with byte %d flipped", i)
		}
	}
	// The keys that its services are asked to seal are small, whatever is kept.
	big := must[[]byte](t)(e.seal(ctx, "x", strings.Repeat("k", 100_000)))
	if wrapped := int(big[4])<<8 | int(big[5]); wrapped > 190 {
		t.Errorf("the keeper was asked to seal what made %d bytes", wrapped)
	}
	other := must[*sealer](t)(openSealer(ctx, t.TempDir(), ""))
	if err := other.open(ctx, "connection prod", sealed, &got); err == nil {
		t.Error("it opened with another key")
	}
}

func TestKeeperURLsAreChecked(t *testing.T) {
	for keeperURL, want := range map[string]string{
		"notaservice://key": "there is no", "key": "SCHEME://KEY", "://": "SCHEME://KEY", "base64key://": "32 bytes",
	} {
		_, err := NewStore(StoreConfig{Dir: t.TempDir(), SecretsURL: keeperURL})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", keeperURL, err)
		}
	}
}

// brokenKeeper is a key service that stops working after some calls. Until then
// it hands keys through; with flip, it does not open what it sealed.
type brokenKeeper struct {
	left *int
	fail func() ([]byte, error)
	flip bool
}

func (b brokenKeeper) Encrypt(_ context.Context, in []byte) ([]byte, error) {
	if *b.left--; *b.left < 0 {
		return b.fail()
	}
	return slices.Clone(in), nil
}

func (b brokenKeeper) Decrypt(ctx context.Context, in []byte) ([]byte, error) {
	out, err := b.Encrypt(ctx, in)
	if err == nil && b.flip {
		out[0] ^= 1
	}
	return out, err
}
func (brokenKeeper) Close() error                       { return nil }
func (brokenKeeper) ErrorAs(error, any) bool            { return false }
func (brokenKeeper) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Unknown }

func newBroken(after int, flip bool, fail func() ([]byte, error)) *sealer {
	return &sealer{keeper: secrets.NewKeeper(brokenKeeper{left: &after, fail: fail, flip: flip}), generation: "broken"}
}

// A key service that panics inside its driver, as Vault's does at an answer that
// it does not know, is an error.
func TestKeeperThatPanics(t *testing.T) {
	_, err := newBroken(0, false, func() ([]byte, error) { panic("interface conversion") }).seal(t.Context(), "x", "y")
	if err == nil || !strings.Contains(err.Error(), "unexpected") {
		t.Errorf("got %v", err)
	}
}

// sealedValues are all of them, by table and row.
func sealedValues(t *testing.T, w *world) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, col := range sealedColumns {
		rows, err := w.store.db.read.QueryContext(t.Context(), `SELECT `+col.key+`, `+col.column+` FROM `+col.table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var (
				key    string
				sealed []byte
			)
			if err := rows.Scan(&key, &sealed); err != nil {
				t.Fatal(err)
			}
			if len(sealed) > 0 {
				all[col.purpose(key)] = sealed
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// sealedWorld has a value of every kind.
func sealedWorld(t *testing.T, databaseURL string) *world {
	t.Helper()
	w := newWorldOn(t, databaseURL, Limits{})
	ctx := t.Context()
	o := openSessionFor(t, w, localSide{w}, w.alice)
	must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(ctx))
	must[[]sealedKey](t)(w.store.signingKeys(ctx))
	if _, _, err := w.store.addWebhook(ctx, Caller{Principal: w.root}, Webhook{Name: "siem"}, secret.New("https://203.0.113.9/hook")); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for purpose := range sealedValues(t, w) {
		kind, _, _ := strings.Cut(purpose, " ")
		kinds[kind] = true
	}
	if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, []string{"connection", keySigning, "upstream", "webhook", keyWitness}) {
		t.Fatalf("the kinds of sealed values are %v", got)
	}
	return w
}

func eachSealedWorld(t *testing.T, do func(t *testing.T, w *world)) {
	t.Helper()
	eachDatabase(t, func(t *testing.T, databaseURL string) { do(t, sealedWorld(t, databaseURL)) })
}

// The key changes: the old one opens nothing any more, in no place of the
// database, and the server goes on with the new one.
func TestRewrap(t *testing.T) {
	eachSealedWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		before := sealedValues(t, w)
		old := w.store
		oldKey := must[*sealer](t)(openSealer(ctx, w.dir, ""))
		file := filepath.Join(t.TempDir(), "new.key")
		done := must[Rewrapped](t)(old.Rewrap(ctx, NewKey{File: file}))
		total := 0
		for _, n := range done.Values {
			total += n
		}
		if total != len(before) || !done.Cleared {
			t.Errorf("%d values were sealed: %+v", len(before), done)
		}
		for purpose, sealed := range sealedValues(t, w) {
			if _, err := oldKey.openBytes(ctx, purpose, sealed); err == nil {
				t.Errorf("the old key opens %s", purpose)
			}
		}
		wantNothingOf(t, w, before)
		if n := count(t, w, `SELECT COUNT(*) FROM audit WHERE action = 'key.rewrap' AND outcome = 'done' AND target = 'key file'`); n != 1 {
			t.Errorf("%d audit rows tell of it", n)
		}

		// A server that still has the old key neither opens nor seals.
		if _, err := old.As(w.root).AddConnection(ctx, Connection{Name: "late", URL: w.sf.URL, Account: "a", User: "U", Role: "R", Roles: []string{"R"}, Warehouse: "W"},
			NewCredential{Kind: "password", Material: secret.New(plantedPassword)}, false); err == nil {
			t.Error("the old key sealed a credential after the change")
		}
		if _, _, err := old.loadCredential(ctx, old.db.read, "prod"); err == nil {
			t.Error("the old key opened a credential after the change")
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err := NewStore(StoreConfig{Dir: w.dir, Database: w.url}); err == nil {
			_ = s.Close()
			t.Fatal("a server started with the old key")
		} else if !strings.Contains(err.Error(), "sealing key") {
			t.Errorf("starting with the old key: %v", err)
		}

		key := must[[]byte](t)(os.ReadFile(file))
		if err := os.WriteFile(filepath.Join(w.dir, keyFile), key, 0o600); err != nil {
			t.Fatal(err)
		}
		w.open(Limits{})
		works(t, w)
	})
}

// works opens everything that there is.
func works(t *testing.T, w *world) {
	t.Helper()
	ctx := t.Context()
	for purpose, sealed := range sealedValues(t, w) {
		if _, err := w.store.keeper.openBytes(ctx, purpose, sealed); err != nil {
			t.Errorf("%s: %v", purpose, err)
		}
	}
	o := openSessionFor(t, w, localSide{w}, w.dave)
	must[session.Upstream](t)(localSide{w}.broker(o).OpenUpstream(ctx))
}

// wantNothingOf looks for the old values wherever the database keeps bytes: in
// SQLite's files, free pages included, and in a copy of every row.
func wantNothingOf(t *testing.T, w *world, before map[string][]byte) {
	t.Helper()
	dir := w.dir
	if w.url != "" {
		dir = t.TempDir()
		must[Copied](t)(Copy(t.Context(), Place{Dir: w.dir, Database: w.url}, Place{Dir: dir, RecordingsURL: "file://" + filepath.ToSlash(filepath.Join(t.TempDir(), "r")) + "?create_dir=true"}))
	}
	files := must[[]string](t)(filepath.Glob(filepath.Join(dir, databaseFile+"*")))
	if len(files) == 0 {
		t.Fatal("there is no database to look through")
	}
	for _, file := range files {
		data := string(must[[]byte](t)(os.ReadFile(file)))
		for purpose, sealed := range before {
			if strings.Contains(data, string(sealed[:40])) || strings.Contains(data, string(sealed[len(sealed)-40:])) {
				t.Errorf("%s still holds what the old key opens: %s", filepath.Base(file), purpose)
			}
		}
	}
}

// A key service that fails on the way, or that seals what it does not open,
// changes nothing.
func TestRewrapThatFails(t *testing.T) {
	eachSealedWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		before := sealedValues(t, w)
		for name, next := range map[string]*sealer{
			"it fails":            newBroken(5, false, func() ([]byte, error) { return nil, errors.New("no more") }),
			"it opens other keys": newBroken(1<<20, true, nil),
		} {
			if done, err := w.store.rewrap(ctx, next, "broken"); err == nil || done.Values != nil {
				t.Errorf("%s: %+v, %v", name, done, err)
			}
			if !maps.EqualFunc(before, sealedValues(t, w), slices.Equal) {
				t.Fatalf("%s: values were changed", name)
			}
		}
		works(t, w)
	})
}

// crashEnv makes this test binary the program that dies in the middle.
const crashEnv = "JIT_TEST_REWRAP_CRASH"

// The program dies in the middle: the old key goes on to work, and the next
// attempt gets through.
func TestRewrapCrash(t *testing.T) {
	if place := os.Getenv(crashEnv); place != "" {
		dir, url, _ := strings.Cut(place, "\n")
		s := must[*Store](t)(NewStore(StoreConfig{Dir: dir, Database: url, Existing: true}))
		local := must[*sealer](t)(openSealer(t.Context(), t.TempDir(), ""))
		calls := 0
		dies := secrets.NewKeeper(dyingKeeper{local.keeper, &calls})
		_, err := s.rewrap(t.Context(), &sealer{keeper: dies, generation: "dead"}, "dead")
		t.Fatalf("it went on: %v", err) // the parent wants a kill
	}
	eachSealedWorld(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		before := sealedValues(t, w)
		c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRewrapCrash$") //nolint:gosec // this test
		c.Env = append(os.Environ(), crashEnv+"="+w.dir+"\n"+w.url)
		out, err := c.CombinedOutput()
		if err == nil || c.ProcessState.ExitCode() == 1 {
			t.Fatalf("it was not killed: %v\n%s", err, out)
		}
		if !maps.EqualFunc(before, sealedValues(t, w), slices.Equal) {
			t.Fatal("values were changed")
		}
		works(t, w)
		done := must[Rewrapped](t)(w.store.Rewrap(ctx, NewKey{File: filepath.Join(t.TempDir(), "new.key")}))
		if !done.Cleared {
			t.Errorf("%+v", done)
		}
	})
}

// dyingKeeper ends the program by force after it has sealed three values.
type dyingKeeper struct {
	local *secrets.Keeper
	calls *int
}

func (d dyingKeeper) Encrypt(ctx context.Context, b []byte) ([]byte, error) {
	if *d.calls++; *d.calls > 3 {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			return nil, err
		}
		select {}
	}
	return d.local.Encrypt(ctx, b)
}
func (d dyingKeeper) Decrypt(ctx context.Context, b []byte) ([]byte, error) {
	return d.local.Decrypt(ctx, b)
}
func (dyingKeeper) Close() error                       { return nil }
func (dyingKeeper) ErrorAs(error, any) bool            { return false }
func (dyingKeeper) ErrorCode(error) gcerrors.ErrorCode { return gcerrors.Unknown }

// A column with bytes that Rewrap does not know would be lost with the old key.
func TestRewrapKnowsEveryColumn(t *testing.T) {
	w := newWorld(t, Limits{})
	rows, err := w.store.db.read.QueryContext(t.Context(), `SELECT m.name || '.' || p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table' AND p.type = 'BYTEA'`)
	if err != nil {
		t.Fatal(err)
	}
	have := must[[]string](t)(scanStrings(rows))
	want := []string{"policies.data", "witnesses.state", "witnesses.cosigned"} // in the clear
	for _, col := range sealedColumns {
		want = append(want, col.table+"."+col.column)
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the schema has %v, Rewrap knows %v", have, want)
	}
}

// transit answers as Vault's transit engine does (encrypt and decrypt of API v1).
// It is scripted: a stand-in, with a local key behind it.
func transit(t *testing.T, token string, deny *bool) *httptest.Server {
	t.Helper()
	key, err := localsecrets.NewRandomKey()
	if err != nil {
		t.Fatal(err)
	}
	keeper := localsecrets.NewKeeper(key)
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Plaintext, Ciphertext string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		refuse := func(status int, text string) {
			rw.WriteHeader(status)
			_ = json.NewEncoder(rw).Encode(map[string]any{"errors": []string{text}})
		}
		answer := func(name, value string) {
			_ = json.NewEncoder(rw).Encode(map[string]any{"data": map[string]any{name: value}})
		}
		switch {
		case r.Header.Get("X-Vault-Token") != token || *deny:
			refuse(http.StatusForbidden, "permission denied")
		case r.URL.Path == "/v1/transit/encrypt/jit":
			plain, err := base64.StdEncoding.DecodeString(in.Plaintext)
			if err != nil {
				refuse(http.StatusBadRequest, "failed to base64-decode plaintext")
				return
			}
			out, err := keeper.Encrypt(r.Context(), plain)
			if err != nil {
				t.Error(err)
			}
			answer("ciphertext", "vault:v1:"+base64.StdEncoding.EncodeToString(out))
		case r.URL.Path == "/v1/transit/decrypt/jit":
			text, ok := strings.CutPrefix(in.Ciphertext, "vault:v1:")
			raw, err := base64.StdEncoding.DecodeString(text)
			out, derr := keeper.Decrypt(r.Context(), raw)
			if !ok || err != nil || derr != nil {
				refuse(http.StatusBadRequest, "cipher: message authentication failed")
				return
			}
			answer("plaintext", base64.StdEncoding.EncodeToString(out))
		default:
			refuse(http.StatusNotFound, "no handler for route")
		}
	}))
	t.Cleanup(web.Close)
	return web
}

// From the key file to Vault: the key service that the server starts with
// afterwards, and without which it does not start.
func TestVault(t *testing.T) {
	const token = "hvs.PLANTED-vault-token"
	deny := false
	vault := transit(t, token, &deny)
	t.Setenv("VAULT_ADDR", vault.URL) // the driver reads them once in a program's life
	t.Setenv("VAULT_TOKEN", token)
	w := sealedWorld(t, "")
	ctx := t.Context()
	const keeperURL = "hashivault://jit"
	if _, err := w.store.Rewrap(ctx, NewKey{URL: "hashivault://other"}); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("with a key that Vault does not have: %v", err)
	}
	if _, err := w.store.Rewrap(ctx, NewKey{URL: keeperURL + "?engine=elsewhere"}); err == nil {
		t.Error("with an engine that Vault does not have")
	}
	must[Rewrapped](t)(w.store.Rewrap(ctx, NewKey{URL: keeperURL}))
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	w.change = append(w.change, func(c *StoreConfig) { c.SecretsURL = keeperURL })
	w.open(Limits{})
	works(t, w)

	deny = true
	_, err := NewStore(StoreConfig{Dir: w.dir, SecretsURL: keeperURL, Policy: policy.Default()})
	if err == nil || !strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), token) {
		t.Errorf("starting while Vault refuses: %v", err)
	}
	if _, _, err := w.store.loadCredential(ctx, w.store.db.read, "prod"); err == nil {
		t.Error("a credential was opened while Vault refuses")
	}
	if _, err := os.Stat(filepath.Join(w.dir, keyFile)); err == nil {
		t.Error("a local key was made instead")
	}
}
