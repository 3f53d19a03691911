package approval

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/jit-access/jit/session"
	"github.com/jit-access/jit/session/recording"
)

// The object store of these tests is versitygw, an S3 server that checks
// signatures, conditional writes and object lock. .ci/parts.sh builds it.

const versitygw = "../../.cache/versitygw/bin/versitygw"

// objectStore is a running versitygw with a man in the middle before it.
type objectStore struct {
	t      *testing.T
	direct string // endpoint
	front  *httptest.Server

	mu     sync.Mutex
	stored func(key string)                               // called when a PUT has been answered, before the answer goes on
	serve  func(key string, true []byte) (instead []byte) // what a GET gives
	seen   map[string]http.Header                         // of PUTs, by key
}

func newObjectStore(t *testing.T) *objectStore {
	t.Helper()
	if _, err := os.Stat(versitygw); err != nil {
		if os.Getenv("JIT_TEST_PARTS") == "required" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED on S3: run .ci/parts.sh (%v)", err)
	}
	dir := t.TempDir()
	for _, sub := range []string{"data", "versions"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ln := must[net.Listener](t)(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	gw := exec.CommandContext(t.Context(), versitygw, "--quiet", "--port", addr, "--health", "/health", "posix", //nolint:gosec // a part of the tests
		"--versioning-dir", filepath.Join(dir, "versions"), filepath.Join(dir, "data"))
	gw.Env = []string{"ROOT_ACCESS_KEY=jit-test", "ROOT_SECRET_KEY=jit-test-secret", "HOME=" + dir}
	gw.Stdout, gw.Stderr = &log, &log
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = gw.Process.Kill()
		_ = gw.Wait()
	})
	o := &objectStore{t: t, direct: "http://" + addr, seen: map[string]http.Header{}}
	eventually(t, time.Minute, "versitygw answers", func() bool {
		resp, err := http.Get(o.direct + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	t.Setenv("AWS_ACCESS_KEY_ID", "jit-test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "jit-test-secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	o.front = httptest.NewServer(o.proxy())
	t.Cleanup(o.front.Close)
	return o
}

// proxy passes everything on as it is signed, except for what a test changes.
func (o *objectStore) proxy() http.Handler {
	target := must[*url.URL](o.t)(url.Parse(o.direct))
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
			if r.In.Method == http.MethodPut {
				o.mu.Lock()
				o.seen[r.In.URL.Path] = r.In.Header.Clone()
				o.mu.Unlock()
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			o.mu.Lock()
			stored, serve := o.stored, o.serve
			o.mu.Unlock()
			switch {
			case resp.Request.Method == http.MethodPut && stored != nil:
				stored(resp.Request.URL.Path)
			case resp.Request.Method == http.MethodGet && serve != nil && resp.StatusCode < 300:
				data, err := io.ReadAll(resp.Body)
				if err != nil {
					return err
				}
				data = serve(resp.Request.URL.Path, data)
				resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
				resp.Header = http.Header{"Content-Type": {"application/octet-stream"}, "Content-Length": {fmt.Sprint(len(data))}}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

func (o *objectStore) url(bucket string) string {
	return "s3://" + bucket + "?" + url.Values{"endpoint": {o.front.URL}, "use_path_style": {"true"}, "region": {"us-east-1"}, "response_checksum_validation": {"when_required"}}.Encode()
}

// bucket makes a bucket and returns its client.
func (o *objectStore) bucket(name string, lock bool) *s3.Client {
	o.t.Helper()
	b := must[*blob.Bucket](o.t)(blob.OpenBucket(o.t.Context(), o.url(name)))
	o.t.Cleanup(func() { _ = b.Close() })
	var client *s3.Client
	if !b.As(&client) {
		o.t.Fatal("there is no S3 client")
	}
	if _, err := client.CreateBucket(o.t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &lock}); err != nil {
		o.t.Fatal(err)
	}
	return client
}

// on makes a store keep its recordings in a bucket.
func (o *objectStore) on(bucket string, lock time.Duration) func(*StoreConfig) {
	return func(cfg *StoreConfig) { cfg.RecordingsURL, cfg.RecordingsLock = o.url(bucket), lock }
}

func (o *objectStore) change(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// A recording reaches a bucket with object lock, and nobody, not even the owner
// of the bucket, changes or deletes a piece of it.
func TestRecordingInLockedBucket(t *testing.T) {
	o := newObjectStore(t)
	client := o.bucket("locked", true)
	w := newWorldOn(t, "", Limits{}, o.on("locked", 48*time.Hour))
	ctx := t.Context()
	s := httpSide{w}
	opened := recordedSession(t, w, s, w.dave, statementFacts("select 1 from T", "allow", []string{"DB.S.T"}, nil))

	dir := download(t, w, w.bob, opened.Session.ID)
	if report, err := recording.Verify(dir, recording.VerifyOptions{WitnessKeys: []string{opened.WitnessKey}}); err != nil || !report.Sealed {
		t.Fatalf("verified %+v, %v", report, err)
	}
	segs := must[[]segment](t)(segments(ctx, w.store.db.read, opened.Session.ID, recording.FileEvents, 0))
	if len(segs) == 0 {
		t.Fatal("nothing was stored")
	}
	bucket, mode := "locked", s3types.ObjectLockRetentionModeGovernance
	for _, g := range segs {
		h := o.seen["/locked/"+g.key]
		if h.Get("If-None-Match") != "*" || h.Get("X-Amz-Object-Lock-Mode") != "COMPLIANCE" {
			t.Errorf("%s was written with %v", g.key, h)
		}
		kept := must[*s3.GetObjectRetentionOutput](t)(client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &bucket, Key: &g.key}))
		if left := kept.Retention.RetainUntilDate.Sub(w.clock.now()); left < 47*time.Hour || left > 49*time.Hour {
			t.Errorf("%s is kept for %s", g.key, left)
		}
		versions := must[*s3.ListObjectVersionsOutput](t)(client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &g.key}))
		if len(versions.Versions) != 1 {
			t.Fatalf("%s has %d versions", g.key, len(versions.Versions))
		}
		bypass, soon := true, time.Now()
		for what, err := range map[string]error{
			"written once more": second(client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &g.key, Body: strings.NewReader("forged"), IfNoneMatch: ptr("*")})),
			"deleted":           second(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &g.key, VersionId: versions.Versions[0].VersionId})),
			"deleted by force":  second(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &g.key, VersionId: versions.Versions[0].VersionId, BypassGovernanceRetention: &bypass})),
			"let go earlier": second(client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: &bucket, Key: &g.key, BypassGovernanceRetention: &bypass,
				Retention: &s3types.ObjectLockRetention{Mode: mode, RetainUntilDate: &soon}})),
		} {
			if err == nil {
				t.Errorf("a locked piece was %s", what)
			}
		}
		// A new version on top of it can be written where versions are kept; it is
		// not what the database names, and so it is not read.
		if _, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &g.key, Body: strings.NewReader(strings.Repeat("f", int(g.length)))}); err == nil {
			if _, err := readPiece(ctx, w.store.blobs, g); !errors.Is(err, errDamaged) {
				t.Errorf("a forged version was read: %v", err)
			}
		}
	}
}

// A bucket that does not lock is refused at start if locking is asked for, and
// so is a folder.
func TestLockNeedsALockingBucket(t *testing.T) {
	o := newObjectStore(t)
	o.bucket("open", false)
	for name, recordings := range map[string]string{"a bucket without object lock": o.url("open"), "a folder": ""} {
		_, err := NewStore(StoreConfig{Dir: t.TempDir(), RecordingsURL: recordings, RecordingsLock: time.Hour})
		if err == nil || !strings.Contains(err.Error(), "lock") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The server is killed after a piece reached the bucket and before it said so;
// the broker goes on with the next server. Then the broker dies as well, and its
// person sends the rest.
func TestUploadGoesOnAfterCrashes(t *testing.T) {
	o := newObjectStore(t)
	o.bucket("crash", true)
	w := newWorldOn(t, "", Limits{}, o.on("crash", time.Hour))
	ctx := t.Context()
	r := must[session.Request](t)(localSide{w}.person(w.dave).Submit(ctx, sessionSubmission()))
	skey, vkey := recordingKey(t)
	opened := must[session.Opened](t)(localSide{w}.person(w.dave).Open(ctx, r.GrantID, vkey))

	child, endpoint := startReplica(t, replicaSettings{Dir: w.dir, Issuer: w.idp.URL, Recordings: o.url("crash")})
	var killed sync.Once
	dying := make(chan struct{})
	o.change(func() {
		o.stored = func(key string) {
			if strings.Contains(key, recording.FileEvents) {
				killed.Do(func() {
					_ = child.Process.Kill()
					_ = child.Wait()
					close(dying)
				})
			}
		}
	})
	var (
		mu  sync.Mutex
		now = NewClient(endpoint, nil, &http.Client{Transport: &http.Transport{}}).ForBroker(opened.Session.ID, opened.Token)
	)
	broker := func() *BrokerClient {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	dir := filepath.Join(t.TempDir(), opened.Session.ID)
	signer, err := recording.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := recording.Create(dir, recording.Options{
		Session: recording.SessionFacts{ID: opened.Session.ID}, Signer: signer, VerifierKey: vkey, WitnessKey: opened.WitnessKey, Interval: 20 * time.Millisecond,
		Witness: func(ctx context.Context, cp []byte) ([]byte, error) { return broker().Cosign(ctx, cp) },
		Upload: func(ctx context.Context, file string, at int64, data []byte) error {
			return broker().Upload(ctx, file, at, data)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	say := func(note string) {
		if _, err := rec.Append(ctx, recording.Event{Kind: recording.KindProtocol, Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	say("before the server died")
	select {
	case <-dying:
	case <-time.After(time.Minute):
		t.Fatal("no piece reached the bucket")
	}
	blobs := must[[]string](t)(keysOf(ctx, w.store.blobs))
	if n := must[[]segment](t)(segments(ctx, w.store.db.read, opened.Session.ID, recording.FileEvents, 0)); len(n) != 0 || len(blobs) != 2 {
		t.Fatalf("the dead server stored %v and committed %d pieces of the events", blobs, len(n))
	}
	mu.Lock()
	now = w.client(session.Principal{}).ForBroker(opened.Session.ID, opened.Token)
	mu.Unlock()
	say("after the server died")
	size := func() int64 {
		var n int64
		_ = w.store.db.read.QueryRowContext(ctx, `SELECT size FROM witnesses WHERE session_id = $1`, opened.Session.ID).Scan(&n)
		return n
	}
	eventually(t, time.Minute, "the next server cosigned all", func() bool { return size() >= 3 })

	// The broker dies: what it leaves is as on disk now, with one event more than
	// the server has.
	mu.Lock()
	now = NewClient("http://127.0.0.1:9", nil, nil).ForBroker(opened.Session.ID, opened.Token)
	mu.Unlock()
	say("the last thing before the broker died")
	dead := t.TempDir()
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	end, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = rec.Seal(end) // ends its goroutines; it reaches nobody
	if err := w.client(w.dave).Revoke(ctx, opened.Session.ID, "the machine died"); err != nil {
		t.Fatal(err)
	}
	key, vkey2 := recordingKey(t)
	if signer, err = recording.NewSigner(key); err != nil {
		t.Fatal(err)
	}
	mine := w.client(w.dave).ForRecovery(opened.Session.ID)
	got, err := recording.Recover(ctx, dead, recording.Options{Signer: signer, VerifierKey: vkey2, WitnessKey: opened.WitnessKey, Witness: mine.Cosign, Upload: mine.Upload})
	if err != nil || !got.Sealed || got.Pending {
		t.Fatalf("recovered %+v, %v", got, err)
	}
	copied := download(t, w, w.bob, opened.Session.ID)
	if _, err := recording.Verify(copied, recording.VerifyOptions{WitnessKeys: []string{opened.WitnessKey}}); err != nil {
		t.Fatal(err)
	}
	log := must[[]byte](t)(os.ReadFile(filepath.Join(copied, recording.FileEvents)))
	for _, note := range []string{"before the server died", "after the server died", "before the broker died"} {
		if bytes.Count(log, []byte(note)) != 1 {
			t.Errorf("%q is there %d times", note, bytes.Count(log, []byte(note)))
		}
	}
}

// The object store, or whoever has its keys, serves something else than what
// was stored: nothing of it is cosigned, given out or copied.
func TestAttackObjectStoreServesOldContent(t *testing.T) {
	o := newObjectStore(t)
	o.bucket("rogue", false)
	w := newWorldOn(t, "", Limits{}, o.on("rogue", 0))
	ctx := t.Context()
	s := httpSide{w}
	opened := recordedSession(t, w, s, w.dave, statementFacts("select 1 from T", "allow", []string{"DB.S.T"}, nil))
	other := recordedSession(t, w, s, w.dave, statementFacts("select 2 from T", "allow", []string{"DB.S.T"}, nil))
	segs := must[[]segment](t)(segments(ctx, w.store.db.read, other.Session.ID, recording.FileEvents, 0))
	old := must[[]byte](t)(readPiece(ctx, w.store.blobs, segs[0]))

	for name, serve := range map[string]func(string, []byte) []byte{
		"a shorter piece":            func(_ string, b []byte) []byte { return b[:len(b)-1] },
		"a longer piece":             func(_ string, b []byte) []byte { return append(b, '\n') },
		"a rewritten piece":          func(_ string, b []byte) []byte { return bytes.Replace(b, []byte("select 1"), []byte("select 9"), 1) },
		"another recording's piece":  func(string, []byte) []byte { return old },
		"nothing":                    func(string, []byte) []byte { return nil },
		"a piece cut to whole lines": func(_ string, b []byte) []byte { return b[:1+bytes.LastIndexByte(b[:len(b)-1], '\n')] },
	} {
		t.Run(name, func(t *testing.T) {
			o.change(func() {
				o.serve = func(key string, b []byte) []byte {
					if !strings.Contains(key, opened.Session.ID+"/"+recording.FileEvents) {
						return b
					}
					return serve(key, b)
				}
			})
			defer o.change(func() { o.serve = nil })
			if body, err := w.client(w.bob).Recording(ctx, opened.Session.ID, recording.FileEvents); err == nil {
				data, err := io.ReadAll(body)
				_ = body.Close()
				if err == nil {
					t.Errorf("it was given out: %q", data)
				}
			}
			if _, err := Copy(ctx, Place{Dir: w.dir, RecordingsURL: o.url("rogue")}, Place{Dir: t.TempDir()}); !errors.Is(err, errDamaged) {
				t.Errorf("copying it: %v", err)
			}
		})
	}
	t.Run("the log, shortened while its session runs", func(t *testing.T) {
		testShortenedWhileRunning(t, o, w)
	})
}

// testShortenedWhileRunning: what was cosigned stays cosigned, whatever the
// bucket serves for it later, and nothing is cosigned on top of other bytes.
func testShortenedWhileRunning(t *testing.T, o *objectStore, w *world) {
	ctx := t.Context()
	opened := openSessionFor(t, w, httpSide{w}, w.alice)
	b := httpSide{w}.broker(opened)
	if err := b.Upload(ctx, recording.FileEvents, 0, []byte("line one\n")); err != nil {
		t.Fatal(err)
	}
	o.change(func() {
		o.serve = func(key string, b []byte) []byte {
			if strings.Contains(key, opened.Session.ID) {
				return []byte("LINE one\n")
			}
			return b
		}
	})
	defer o.change(func() { o.serve = nil })
	if err := b.Upload(ctx, recording.FileEvents, 0, []byte("LINE one\nline two\n")); err == nil {
		t.Error("a rewritten line was taken for the stored one")
	}
	if err := b.Upload(ctx, recording.FileEvents, 0, []byte("line one\nline two\n")); err == nil {
		t.Error("a piece was stored on top of one that cannot be read back")
	}
}

// startReplica starts the test binary as a server of its own.
func startReplica(t *testing.T, set replicaSettings) (child *exec.Cmd, endpoint string) {
	t.Helper()
	child = exec.Command(must[string](t)(os.Executable())) //nolint:gosec // this test
	child.Env = append(os.Environ(), replicaEnv+"="+string(must[[]byte](t)(json.Marshal(set))))
	child.Stderr = os.Stderr
	leash, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leash.Close() })
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, child.Wait())
	}
	return child, strings.TrimSpace(line)
}

// download fetches what the server has of a recording into a folder.
func download(t *testing.T, w *world, p session.Principal, sessionID string) string {
	t.Helper()
	dir := t.TempDir()
	c := w.client(p)
	for _, f := range must[[]RecordingFile](t)(c.RecordingFiles(t.Context(), sessionID)) {
		body := must[io.ReadCloser](t)(c.Recording(t.Context(), sessionID, f.Name))
		data, err := io.ReadAll(body)
		if err != nil || int64(len(data)) != f.Size {
			t.Fatalf("%s: %d bytes of %d, %v", f.Name, len(data), f.Size, err)
		}
		_ = body.Close()
		if err := os.WriteFile(filepath.Join(dir, f.Name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func keysOf(ctx context.Context, b *blob.Bucket) ([]string, error) {
	var keys []string
	for it := b.List(nil); ; {
		obj, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return keys, nil
		}
		if err != nil {
			return keys, err
		}
		keys = append(keys, obj.Key)
	}
}

func ptr[T any](v T) *T { return &v }

func second[T any](_ T, err error) error { return err }

// versionsOf lists the keys of all versions and deletion markers.
func versionsOf(ctx context.Context, client *s3.Client, bucket string) ([]string, error) {
	out, err := client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, v := range out.Versions {
		keys = append(keys, *v.Key)
	}
	for _, v := range out.DeleteMarkers {
		keys = append(keys, *v.Key)
	}
	return keys, nil
}
