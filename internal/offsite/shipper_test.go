package offsite

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
)

// yard is a server, its archive, and a repository.
type yard struct {
	t      *testing.T
	server *lab.Server
	dir    string // of the archive
	root   string
	opened int
}

func newYard(t *testing.T) *yard {
	t.Helper()
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.New(t)
	s, err := l.Server(t.Context(), build, lab.Spec{Name: "src"})
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.MkdirTemp("/dev/shm", "holdstill-offsite-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	y := &yard{t: t, server: s, dir: filepath.Join(root, "archive"), root: root}
	store, err := kopia.Init(t.Context(), y.settings("home"))
	if err == nil {
		err = store.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return y
}

func (y *yard) settings(host string) kopia.Settings {
	return kopia.Settings{Location: kopia.Location{URL: filepath.Join(y.root, "store")}, Password: "secret", Host: host, Dir: filepath.Join(y.root, host)}
}

func (y *yard) open(ctx context.Context) (repository.Store, error) {
	y.opened++
	store, err := kopia.Open(ctx, y.settings("home"))
	if err != nil {
		return nil, err // not a store that is no store
	}
	return store, nil
}

func (y *yard) sql(statements ...string) {
	y.t.Helper()
	if err := y.server.Exec(y.t.Context(), statements...); err != nil {
		y.t.Fatal(err)
	}
}

// archived archives what there is.
func (y *yard) archived() {
	y.t.Helper()
	err := archive.Run(y.t.Context(), archive.Options{Dir: y.dir, Instance: "shop", Host: "a", Once: true, Log: slog.New(slog.DiscardHandler),
		Sources: []archive.Source{{Socket: y.server.Socket, User: "root"}}})
	if err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) shipper() *Shipper {
	return &Shipper{Dir: y.dir, Instance: "shop", Host: "a", Open: y.open, Every: time.Millisecond, Bytes: 1 << 20, Log: slog.New(slog.NewTextHandler(y.t.Output(), nil))}
}

func (y *yard) ship() {
	y.t.Helper()
	if err := y.shipper().Once(y.t.Context()); err != nil {
		y.t.Fatal(err)
	}
}

// stored are the logs as another machine sees them.
func (y *yard) stored() (repository.Store, []Stored) {
	y.t.Helper()
	store, err := kopia.Open(y.t.Context(), y.settings("other"))
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { _ = store.Close(context.Background()) })
	all, err := List(y.t.Context(), store, "a", "shop")
	if err != nil {
		y.t.Fatal(err)
	}
	return store, all
}

// id is the archive's identity.
func (y *yard) id() string {
	a, err := archive.Open(y.dir)
	if err != nil {
		y.t.Fatal(err)
	}
	id, err := a.ID()
	if err != nil || id == "" {
		y.t.Errorf("the archive's identity: %q, %v", id, err)
	}
	return id
}

// same wants what is stored, fetched, to be what the server has.
func (y *yard) same(n int) []Stored {
	y.t.Helper()
	store, all := y.stored()
	if len(all) != n {
		y.t.Fatalf("%d logs are stored, not %d", len(all), n)
	}
	cache := NewCache(filepath.Join(y.root, "cache"))
	defer func() {
		if err := cache.Close(); err != nil {
			y.t.Error(err)
		}
	}()
	for _, s := range all {
		if err := cache.Fetch(y.t.Context(), store, &s); err != nil {
			y.t.Fatal(err)
		}
		ours, err := os.ReadFile(cache.Path(&s))
		if err != nil {
			y.t.Fatal(err)
		}
		theirs, err := os.ReadFile(filepath.Join(y.server.Datadir, s.Name))
		if err != nil {
			y.t.Fatal(err)
		}
		ours[21], theirs[21] = 0, 0 // in use, or not
		if !s.Closed && s.Archive != y.id() {
			theirs = theirs[:min(len(ours), len(theirs))] // nobody goes on with it
		}
		if !bytes.Equal(ours, theirs) {
			y.t.Errorf("%s: %d bytes came back, and the server has %d", s.Name, len(ours), len(theirs))
		}
	}
	return all
}

// TestShipperGoesOn: each attempt sends what is new, as cheaply as it is safe; a store that is away is met again, and nothing new is no write.
func TestShipperGoesOn(t *testing.T) {
	y := newYard(t)
	y.sql("CREATE DATABASE a", "FLUSH LOGS", "CREATE DATABASE b")
	y.archived()
	y.ship()
	if all := y.same(2); !all[0].Closed || all[1].Closed || len(all[1].In.Tails) > 0 {
		t.Errorf("%+v", all)
	}
	before := y.blobs()
	y.ship()
	if y.blobs() != before {
		t.Errorf("nothing was new, and there are %d blobs after %d", y.blobs(), before)
	}
	y.sql("CREATE DATABASE c")
	y.archived()
	y.ship()
	y.sql("CREATE DATABASE d")
	y.archived()
	away := filepath.Join(y.root, "away")
	if err := os.Rename(filepath.Join(y.root, "store"), away); err != nil {
		t.Fatal(err)
	}
	if err := y.shipper().Once(t.Context()); err == nil {
		t.Error("shipped to nowhere")
	}
	if s := ReadState(y.dir); s == nil || s.Error == "" || s.Since.IsZero() || s.Unshipped(map[int]int64{1: 5, 2: s.Offset + 7}) != 7 {
		t.Errorf("the state: %+v", s)
	}
	if err := os.Rename(away, filepath.Join(y.root, "store")); err != nil {
		t.Fatal(err)
	}
	y.ship()
	if all := y.same(2); len(all[1].In.Tails) != 2 {
		t.Errorf("two small pieces: %+v", all[1].In.Tails)
	}
	if s := ReadState(y.dir); s.Error != "" {
		t.Errorf("the state: %+v", s)
	}
	if err := os.Remove(filepath.Join(y.dir, stateFile)); err != nil { // nobody vouches for what is stored: all of it is read again
		t.Fatal(err)
	}
	y.sql("CREATE DATABASE e")
	y.archived()
	y.ship()
	if all := y.same(2); len(all[1].In.Tails) > 0 {
		t.Errorf("%+v", all[1].In.Tails)
	}
	store, _ := y.stored()
	whole, err := Whole(t.Context(), store, "a", "shop")
	a, _ := archive.Open(y.dir)
	here, _ := a.Logs()
	if err != nil || !whole(here[0]) || whole(here[1]) {
		t.Errorf("whole: %v, of %+v", err, here)
	}
	y.beginsAnew()
}

// beginsAnew loses the archive; the one in its place is stored beside what was.
func (y *yard) beginsAnew() {
	y.t.Helper()
	y.sql("FLUSH LOGS", "CREATE DATABASE f")
	if err := os.RemoveAll(y.dir); err != nil {
		y.t.Fatal(err)
	}
	y.archived()
	y.ship()
	all := y.same(2 + 3)
	if chain := Chain(Archives(all)...); told(chain) == "" || len(chain) != 3 {
		y.t.Errorf("as one sequence: %s", told(chain))
	}
	for _, l := range Chain(Archives(all)...) {
		if l.Gap != nil {
			y.t.Errorf("a gap before %s: %s", l.Name, l.Gap.Reason)
		}
	}
	y.sql("RESET MASTER", "CREATE DATABASE g") // the same names again
	y.archived()
	y.ship()
	_, all = y.stored()
	chain := Chain(Archives(all)...)
	if last := chain[len(chain)-1]; len(chain) != 4 || last.Name != "binlog.000001" || last.Gap == nil {
		y.t.Errorf("after a reset: %d logs, %+v", len(chain), last)
	}
}

// blobs counts what the store holds.
func (y *yard) blobs() (n int) {
	err := filepath.WalkDir(filepath.Join(y.root, "store"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return n
}

// TestShipperStops: it ends with its context, even with a store that does not answer, and what was left is sent if it can be.
func TestShipperStops(t *testing.T) {
	y := newYard(t)
	y.archived()
	ctx, cancel := context.WithCancel(t.Context())
	s := y.shipper()
	s.Every = time.Hour
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	cancel()
	<-done
	y.same(1)

	y.sql("CREATE DATABASE a")
	y.archived()
	s = y.shipper()
	s.Open = func(context.Context) (repository.Store, error) { return nil, errors.New("nobody is there") }
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	s.Run(ctx)
	if state := ReadState(y.dir); state.Error == "" {
		t.Errorf("%+v", state)
	}
	y.setBack()
}

// TestAFaultThatIsOver: what the state says of a fault goes when the repository was met again, even if nothing was to be sent; so does what was said of
// one that was silent, and what was sent meanwhile stays known.
func TestAFaultThatIsOver(t *testing.T) {
	y := newYard(t)
	y.archived()
	y.ship()
	for what, fail := range map[string]func(*Shipper){
		"left by the last shipper":                   func(*Shipper) {},
		"of this one, and the log was pruned":        func(s *Shipper) { s.whole = 1 },
		"silence, and nobody had anything to say of": func(s *Shipper) { s.Open, s.sent = y.late(s), time.Time{} },
	} {
		known := *ReadState(y.dir)
		failed := known
		failed.Error, failed.Since = "it was away", time.Now()
		if what[0] == 's' {
			failed = known
		}
		if err := failed.write(y.dir); err != nil {
			t.Fatal(err)
		}
		s := y.shipper()
		s.begin()
		fail(s)
		if err := s.attempt(t.Context()); err != nil {
			t.Error(err)
		}
		s.end()
		if now := ReadState(y.dir); now.Error != "" || !now.Since.IsZero() || now.Offset != known.Offset || known.Offset == 0 || !now.At.Equal(known.At) {
			t.Errorf("%s: before it was %+v, and now it is %+v", what, known, now)
		}
	}
}

// late opens the repository when the state says that it does not answer.
func (y *yard) late(s *Shipper) func(context.Context) (repository.Store, error) {
	return func(ctx context.Context) (repository.Store, error) {
		for s.silent.Reset(1); ReadState(y.dir).Error == ""; time.Sleep(time.Millisecond) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		return y.open(ctx)
	}
}

// setBack brings back an older copy of the archive, and goes on with other logs in the same places: what was stored stays.
func (y *yard) setBack() {
	y.t.Helper()
	older := filepath.Join(y.root, "older")
	if err := os.CopyFS(older, os.DirFS(y.dir)); err != nil {
		y.t.Fatal(err)
	}
	y.sql("FLUSH LOGS")
	y.archived()
	y.ship()
	if err := errors.Join(os.RemoveAll(y.dir), os.Rename(older, y.dir)); err != nil {
		y.t.Fatal(err)
	}
	before := y.id()
	y.sql("RESET MASTER", "CREATE DATABASE other")
	y.archived()
	y.ship()
	_, all := y.stored()
	places := map[string]int{}
	for _, s := range all {
		places[s.Archive]++
	}
	if len(places) != 2 || places[before] != 2 || places[y.id()] != 2 {
		y.t.Errorf("stored are, by archives, %v; %s was set back and is %s now", places, before, y.id())
	}
}
