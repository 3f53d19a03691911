package approval

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The tests start a PostgreSQL of their own, reachable by a socket only, and
// stop it when they are through. Without the programs they say so and skip,
// unless JIT_TEST_PARTS=required asks for everything.

// postgresDirs is where Debian, and others, keep the programs.
var postgresDirs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"}

var errNoPostgres = errors.New("PostgreSQL is not installed (Debian package postgresql)")

type postgresServer struct {
	dir  string
	stop func()
}

// thePostgres is shared by the tests of this package.
var thePostgres = sync.OnceValues(startPostgres)

func TestMain(m *testing.M) {
	if replica := os.Getenv(replicaEnv); replica != "" {
		os.Exit(runReplica(replica))
	}
	code := m.Run()
	if pg, err := thePostgres(); err == nil {
		pg.stop()
	}
	os.Exit(code)
}

func postgresPrograms() (string, error) {
	for _, pattern := range postgresDirs {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for i := len(found) - 1; i >= 0; i-- {
			if _, err := os.Stat(filepath.Join(found[i], "initdb")); err == nil {
				return found[i], nil
			}
		}
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	return "", errNoPostgres
}

func startPostgres() (*postgresServer, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "jit-pg") // short: it holds a socket
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*postgresServer, error) { return nil, errors.Join(err, os.RemoveAll(dir)) }
	if err := giveAway(dir); err != nil {
		return fail(err)
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-A", "trust", "-U", "jit", "-E", "UTF8", "--locale=C", "--no-sync", "-D", data) //nolint:gosec // a program found above
	unprivileged(initdb)
	initdb.Dir = dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("initdb: %w: %s", err, out))
	}
	// The shell stops the server when its stdin ends, which it does also if the
	// test process dies.
	server := exec.Command("sh", "-c", `"$1" -D "$2" -c listen_addresses= -c unix_socket_directories="$3" -c fsync=off -c max_connections=400 >"$3/log" 2>&1 & pid=$!; read -r _; kill -INT $pid; wait $pid`, //nolint:gosec // as above
		"sh", filepath.Join(bin, "postgres"), data, dir)
	unprivileged(server)
	server.Dir = dir
	leash, err := server.StdinPipe()
	if err != nil {
		return fail(err)
	}
	if err := server.Start(); err != nil {
		return fail(err)
	}
	pg := &postgresServer{dir: dir, stop: func() {
		_ = leash.Close()
		_ = server.Wait()
		_ = os.RemoveAll(dir)
	}}
	if err := pg.wait(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		pg.stop()
		return nil, fmt.Errorf("starting PostgreSQL: %w: %s", err, log)
	}
	return pg, nil
}

// url names database db of the server.
func (p *postgresServer) url(db string) string {
	return "postgres:///" + db + "?" + url.Values{"host": {p.dir}, "user": {"jit"}}.Encode()
}

func (p *postgresServer) wait() error {
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err = p.exec("SELECT 1"); err == nil {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return err
}

func (p *postgresServer) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// newPostgres is the URL of an empty database.
func newPostgres(t testing.TB) string {
	t.Helper()
	pg, err := thePostgres()
	switch {
	case errors.Is(err, errNoPostgres) && os.Getenv("JIT_TEST_PARTS") != "required":
		t.Skipf("NOT TESTED on PostgreSQL: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	name := "jit_" + hex.EncodeToString(b[:])
	if err := pg.exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Log(err)
		}
	})
	return pg.url(name)
}
