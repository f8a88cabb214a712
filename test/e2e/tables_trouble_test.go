package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestTroubleOfTables lets the disk fill up and the live server die in the middle of dumps, restores and loads of tables. Whoever asks sees the
// old table or the new one; the message says what happened and what to do, and after that it works.
func TestTroubleOfTables(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		check(t, s.server.Exec(t.Context(), "CREATE DATABASE sales", "USE sales", "CREATE TABLE log (what VARCHAR(50))",
			"CREATE TABLE big (id INT PRIMARY KEY AUTO_INCREMENT, v VARBINARY(1000))",
			"CREATE TRIGGER told AFTER DELETE ON big FOR EACH ROW INSERT INTO log VALUES ('told')", "INSERT INTO big (v) VALUES (RANDOM_BYTES(1000))"))
		for range 13 {
			check(t, s.server.Exec(t.Context(), "INSERT INTO sales.big (v) SELECT RANDOM_BYTES(1000) FROM sales.big"))
		}
		b := &trouble{shop: s, point: s.backup()}
		check(t, s.server.Exec(t.Context(), "DELETE FROM sales.big WHERE id > 1"))
		t.Run("full", b.full)
		t.Run("dead", b.dead)
	})
}

// trouble is a shop with one table of 8 MiB, of which one row is left.
type trouble struct {
	*shop
	point *catalog.Point
	out   string // a dump of the point
}

// state is what whoever asks sees: "old" or "new".
func (b *trouble) state() string {
	b.t.Helper()
	switch rows, triggers := b.value("SELECT COUNT(*) FROM sales.big"), b.value("SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_TABLE = 'big' AND TRIGGER_NAME = 'told'"); {
	case rows == "1" && triggers == "1":
		return "old"
	case rows == "8192":
		return "new"
	default:
		return rows + " rows, " + triggers + " triggers"
	}
}

// full fills disks: that of the dump, and the live server's.
func (b *trouble) full(t *testing.T) {
	small := must(b.lab.FS(t.Context(), "small", "ext4", 24<<20))(t)
	b.out = filepath.Join(small.Dir, "dump")
	empty := fill(t, small.Dir, 4<<20)
	args := []string{"dump", b.point.ID, "sales", "--out", b.out, "--scratch-dir", b.scratchDir()}
	o := b.holdstill(args...).want(t, 1)
	contains(t, o.stderr, "sales.big", "no space left on device", b.out, "the same command goes on with it")
	b.noScratch("a full disk")
	empty()
	b.holdstill(args...).want(t, 0)
	must(dumpfile.ReadManifest(b.out))(t)

	byFiles := []string{"restore", b.point.ID, "--table", "sales.big", "--local-only", "--scratch-dir", b.scratchDir()}
	fromDump := []string{"restore", "--from-dump", b.out, "--into", "shop", "--table", "sales.big", "--local-only"}
	if out, err := exec.Command("tune2fs", "-m", "0", b.volume.Device).CombinedOutput(); err != nil { // nothing is kept for root
		t.Fatalf("%v: %s", err, out)
	}
	empty = fill(t, b.volume.Dir, 5<<20)
	contains(t, b.holdstill(byFiles...).want(t, 2).stderr, "MiB free in "+b.server.Datadir, "make room")
	empty()
	for _, c := range []struct {
		at   string
		args []string
		says []string
	}{
		{"staging.acted", byFiles, []string{"cannot restore sales.big", "no space left on device"}},
		{"staging.acted", append(byFiles, "--way", "load"), []string{"cannot load sales.big"}},
		{"load.begun", fromDump, []string{"cannot load sales.big", "the same command goes on with it"}},
	} {
		o := b.meanwhile(c.at, func() func() { return fill(t, b.volume.Dir, 5<<20) }, c.args...)
		contains(t, o.want(t, 1).stderr, append(c.says, "make room")...)
		if got := b.state(); got != "old" {
			t.Errorf("%v: %s", c.args, got)
		}
	}
}

// dead kills the live server, which comes back at once.
func (b *trouble) dead(t *testing.T) {
	byFiles := []string{"restore", b.point.ID, "--table", "sales.big", "--local-only", "--scratch-dir", b.scratchDir()}
	fromDump := []string{"restore", "--from-dump", b.out, "--into", "shop", "--table", "sales.big"}
	restart := func() func() {
		check(t, errorsOf(b.server.Kill(), b.server.Start(b.t.Context())))
		return func() {}
	}
	for _, c := range []struct {
		at   string
		args []string
		code int
		says []string
		then string // after recover
	}{
		{"tables.copied", byFiles, 1, []string{"cannot restore sales.big", "the connection to the server is lost"}, "old"},
		{"load.half", fromDump, 0, nil, "new"}, // it connects anew
		{"swap.acted", byFiles, 1, []string{"the new tables are in place"}, "new"},
	} {
		b.old()
		o := b.meanwhile(c.at, restart, c.args...)
		contains(t, o.want(t, c.code).stderr, c.says...)
		b.holdstill("recover").want(t, 0)
		if got := b.state(); got != c.then {
			t.Errorf("%s: %s", c.at, got)
		}
		b.noScratch(c.at)
	}
	b.old()
	if o := b.withFault("load.half:kill", fromDump...); o.code != -1 {
		t.Fatalf("the kill did not happen: %d", o.code)
	}
	contains(t, b.holdstill("doctor").want(t, 0).stdout, "holdstill_load_", "DROP DATABASE")
	b.holdstill(fromDump...).want(t, 0)
	if o := b.holdstill("doctor").want(t, 0); strings.Contains(o.stdout, "holdstill_load_") {
		t.Error(o.stdout)
	}
	if got := b.state(); got != "new" {
		t.Error(got)
	}
	b.tidy()
}

// old leaves one row in the table.
func (b *trouble) old() {
	b.t.Helper()
	check(b.t, b.server.Exec(b.t.Context(), "DELETE FROM sales.big WHERE id > 1"))
}

// fill takes a file system's space but for so many bytes.
func fill(t *testing.T, dir string, leave uint64) (empty func()) {
	t.Helper()
	var fs syscall.Statfs_t
	check(t, syscall.Statfs(dir, &fs))
	free := fs.Bavail * uint64(fs.Bsize)
	name := filepath.Join(dir, "filler")
	f := must(os.Create(name))(t)
	check(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(free-leave)))
	check(t, f.Close())
	return func() { check(t, os.Remove(name)) }
}
