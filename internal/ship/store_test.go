package ship_test

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab/store"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
	"github.com/holdstill/holdstill/internal/ship"
	"github.com/holdstill/holdstill/internal/snapshot"
)

const (
	mib  = 1 << 20
	pack = 22 * mib // the longest that kopia sends at once, and some
	unit = "/srv"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scratch is a directory in memory, where syncing is no matter of other tests.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdstill-ship-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// cut is a directory that stands for the cut of a server whose data are in /srv/data.
type cut struct{ dir string }

func (c cut) Path() string                       { return c.dir }
func (c cut) Locate(real string) (string, error) { return filepath.Join(c.dir, real), nil }
func (c cut) Close() error                       { return nil }

// client is a machine that ships points of one cut to one store.
type client struct {
	t     *testing.T
	cut   cut
	files map[string][]byte // by real path
	size  int64
	store repository.Store
	log   *bytes.Buffer
}

// newClient makes a cut with some files of random bytes, size in all.
func newClient(t *testing.T, size int) *client {
	t.Helper()
	c := &client{t: t, cut: cut{scratch(t)}, files: map[string][]byte{}, log: &bytes.Buffer{}}
	left := size
	for i, part := range []int{left / 2, left / 3, 0, 1000, left/6 - 1000} {
		data := make([]byte, part)
		_, _ = rand.NewChaCha8([32]byte{byte(i), 7}).Read(data)
		name := path.Join(unit, "data", string(rune('a'+i)), "table.ibd")
		c.files[name], c.size = data, c.size+int64(part)
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(c.cut.dir, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(c.cut.dir, name), data, 0o640))
	}
	return c
}

// settings say where a store is as this package's callers do.
func settings(t *testing.T, location kopia.Location, host string) kopia.Settings {
	t.Helper()
	return kopia.Settings{Location: location, Password: "a password", Host: host, Dir: scratch(t)}
}

func s3(t *testing.T, e *store.Endpoint, name string) kopia.Location {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys")
	check(t, os.WriteFile(keys, []byte("[default]\naws_access_key_id = "+e.User+"\naws_secret_access_key = "+e.Secret+"\n"), 0o600))
	return kopia.Location{URL: "s3://" + e.Bucket + "/" + name, Endpoint: e.Addr, Region: e.Region, Plain: true, CredentialsFile: keys}
}

// made initialises a store, opened as the program opens it.
func (c *client) made(s kopia.Settings) {
	c.t.Helper()
	opened, err := kopia.Init(c.t.Context(), s)
	check(c.t, err)
	c.use(opened)
}

func (c *client) opened(s kopia.Settings) {
	c.t.Helper()
	opened, err := kopia.Open(c.t.Context(), s)
	check(c.t, err)
	c.use(opened)
}

func (c *client) use(s repository.Store) {
	c.store = s
	c.t.Cleanup(func() { _ = s.Close(context.Background()) })
}

func point(id, host string) *catalog.Point {
	place := mount.Place{Path: unit + "/data", Real: unit + "/data"}
	return &catalog.Point{ID: id, Instance: "shop", Host: host, TakenAt: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), Status: catalog.Recorded,
		Paths:    []catalog.Located{{Purpose: database.DataDir, Place: place, Unit: unit}},
		Snapshot: catalog.Snapshot{Refs: []snapshot.Ref{{Provider: "test", Name: id, Unit: unit}}}}
}

// ship sends a point within a time; patience is the request's.
func (c *client) ship(id, host string, limit, patience time.Duration, progress func(ship.Event)) (*ship.Result, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	return ship.Ship(ctx, ship.Request{Point: point(id, host), Patience: patience}, ship.Deps{Store: c.store, Progress: progress,
		Open: func(context.Context, snapshot.Ref) (snapshot.Tree, error) { return c.cut, nil }, Log: slog.New(slog.NewTextHandler(c.log, nil))})
}

// holds wants the store to hold exactly these points, as a machine that was never here before sees them, whole.
func (c *client) holds(s kopia.Settings, ids ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	other, err := kopia.Open(ctx, s)
	check(c.t, err)
	defer other.Close(ctx)
	points, err := other.Points(ctx)
	check(c.t, err)
	var got []string
	for _, p := range points {
		got = append(got, p.Point)
		c.same(ctx, other, p)
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		c.t.Errorf("the store holds the points %v, not %v", got, ids)
	}
	health, err := other.Check(ctx, repository.CheckOptions{Read: 100})
	if err != nil || len(health.Damages) > 0 || health.Points != len(ids) {
		c.t.Errorf("check: %+v, %v", health, err)
	}
}

// same reads a stored point back.
func (c *client) same(ctx context.Context, s repository.Store, p repository.Stored) {
	c.t.Helper()
	tree, err := s.Open(ctx, p)
	check(c.t, err)
	defer tree.Close(ctx)
	for name, want := range c.files {
		n, err := tree.Root(ctx)
		check(c.t, err)
		for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
			entries, err := tree.Entries(ctx, n)
			check(c.t, err)
			n = nil
			for _, e := range entries {
				if e.Name == part {
					n = e
				}
			}
			if n == nil {
				c.t.Fatalf("%s has no %s in the store", p.Point, name)
			}
		}
		got := make(memory, n.Size)
		check(c.t, tree.Fetch(ctx, n, got, repository.Fetching{}))
		if !bytes.Equal(got, want) {
			c.t.Errorf("%s of %s is not what was shipped", name, p.Point)
		}
	}
}

type memory []byte

func (m memory) WriteAt(p []byte, at int64) (int, error) { return copy(m[at:], p), nil }
