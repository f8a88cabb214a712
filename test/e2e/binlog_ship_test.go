package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
)

// shipsFast is a configuration in which nobody waits long.
const shipsFast = "    binlog:\n      ship_every: 1s\n"

// archiver runs binlog archive beside the test.
type archiver struct {
	t   *testing.T
	cmd *exec.Cmd
	log bytes.Buffer
}

func (s *shop) archiver() *archiver {
	s.t.Helper()
	a := &archiver{t: s.t, cmd: s.command(s.t.Context(), normal, "", "binlog", "archive")}
	a.cmd.Stderr = &a.log
	check(s.t, a.cmd.Start())
	s.t.Cleanup(a.kill)
	return a
}

// kill ends it as a power cut would.
func (a *archiver) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// shipping is what binlog status says of it.
type shipping struct {
	File      string
	Offset    int64
	Time, At  time.Time
	Unshipped int64 `json:"unshipped_bytes"`
	Error     string
	Since     time.Time
}

func (s *shop) shipping() (out shipping) {
	s.t.Helper()
	all := struct{ Shipping *shipping }{&out}
	check(s.t, json.Unmarshal([]byte(s.holdstill("--json", "binlog", "status").want(s.t, 0).stdout), &all))
	return out
}

// awaits waits until binlog status says so.
func (s *shop) awaits(what string, is func(binlogStatus, shipping) bool) {
	s.t.Helper()
	for until := time.Now().Add(60 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		b, now := s.binlogStatus(), s.shipping()
		if is(b, now) {
			return
		}
		if time.Now().After(until) {
			s.t.Fatalf("%s: %+v, %+v", what, b, now)
		}
	}
}

// allShipped is the end of everything.
func allShipped(b binlogStatus, now shipping) bool {
	return b.LagBytes != nil && *b.LagBytes == 0 && now.Unshipped == 0 && now.Error == "" && b.Position != nil &&
		now.File == b.Position.File && now.Offset == b.Position.Offset
}

// TestBinlogsAway archives under load, kills the archiver again and again, takes the repository away for a while, and then does what people do who
// have nothing but the repository: on another machine, and on the same one after its archive was lost.
func TestBinlogsAway(t *testing.T) {
	s, j, p := shippingShop(t, must(lab.Find("mariadb-10.11"))(t))
	middle := *j.note("insert")
	a := s.archiver()
	j.do("DROP TABLE plain")
	dropped := *j.note("drop")
	s.goneAndBack(j)
	last := *j.note("insert")
	s.awaits("all is shipped", allShipped)
	a.kill()

	other := s.another("spare")
	other.sameLogs(s)
	contains(t, other.holdstill("points", "show", "latest").want(t, 0).stdout, "recoverable", last.file)
	contains(t, other.holdstill("binlog", "list", "shop").want(t, 0).stdout, "repository")
	found := other.find("shop", "--table", "truth.plain", "--kind", "drop")
	if len(found) != 1 || found[0].GTID != dropped.gtid {
		t.Errorf("what was dropped by %s: %+v", dropped.gtid, found)
	}
	check(t, os.RemoveAll(filepath.Join(other.state, "repository", "binlog"))) // the cache
	other.holds(t, last, "--instance", "shop", "--until-gtid", last.gtid)

	s.twin(other)
	s.lost(last)
	s.holds(t, middle, "--until-gtid", dropped.gtid, "--before")
	s.prunesBoth(other, p)
	other.holds(t, middle, "--instance", "shop", "--until-gtid", middle.gtid)
}

// TestBinlogsAwayMySQL is the short way: to a moment on another machine, and an archive that was lost.
func TestBinlogsAwayMySQL(t *testing.T) {
	s, j, _ := shippingShop(t, must(lab.Find("mysql-9.7"))(t))
	a := s.archiver()
	j.steps()[1]()
	last := *j.note("savepoint")
	s.awaits("all is shipped", allShipped)
	a.kill()
	other := s.another("spare")
	other.sameLogs(s)
	other.holds(t, last, "--instance", "shop", "--until-gtid", last.gtid)
	s.lost(last)
}

// TestShippingKilled kills an archiver at each boundary of what it sends: the next one goes on, without a hole and without anything twice.
func TestShippingKilled(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), "")
	s.stockedAt(s.store())
	for i, boundary := range []string{"binlog.sent", "binlog.committed", "binlog.appended", "binlog.sent:kill:2"} {
		check(t, s.server.Exec(t.Context(), fmt.Sprintf("CREATE DATABASE d%d", i)))
		if i == 3 {
			check(t, s.server.Exec(t.Context(), "FLUSH BINARY LOGS")) // one is closed, and one begins
		}
		if !strings.Contains(boundary, ":") {
			boundary += ":kill"
		}
		if o := s.withFault(boundary, "binlog", "archive", "--once"); o.code != -1 {
			t.Fatalf("%s: the kill did not happen: %d\n%s", boundary, o.code, o.stderr)
		}
		if i == 1 { // what was committed is there, and known to be
			s.holdstill("binlog", "archive", "--once").want(t, 0)
		}
	}
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	if now := s.shipping(); now.Unshipped != 0 || now.Error != "" {
		t.Errorf("%+v", now)
	}
	s.another("spare").sameLogs(s)
}

// shippingShop is a shop with a point whose archiver was killed again and again under load.
func shippingShop(t *testing.T, build lab.Build) (*shop, *journal, *catalog.Point) {
	t.Helper()
	s := open(t, build, onBtrfs)
	s.configure(shipsFast)
	s.stockedAt(s.store())
	j := newJournal(t, build, s.server.Socket, 8)
	j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
	j.do("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
	p := s.backup()
	for range 3 {
		a := s.archiver()
		for range 3 {
			j.steps()[0]()
			time.Sleep(400 * time.Millisecond)
		}
		j.do("FLUSH BINARY LOGS")
		a.kill()
	}
	return s, j, p
}

// store is where the repository is.
func (s *shop) store() string { return filepath.Join(s.lab.Dir(), "store") }

// goneAndBack takes the repository away: archiving goes on, and what was missed is shipped when it is back.
func (s *shop) goneAndBack(j *journal) {
	t, store := s.t, s.store()
	t.Helper()
	check(t, os.Rename(store, store+".away"))
	j.steps()[0]()
	s.awaits("the repository is gone", func(b binlogStatus, now shipping) bool {
		return now.Error != "" && now.Unshipped > 0 && b.LagBytes != nil && *b.LagBytes == 0
	})
	contains(t, s.holdstill("binlog", "status").want(t, 0).stdout, "Shipping fails", "Not shipped")
	check(t, os.Rename(store+".away", store))
}

// sameLogs wants the logs of the repository to be the server's files, byte for byte.
func (s *shop) sameLogs(home *shop) {
	t := s.t
	t.Helper()
	names, out := s.archived("shop"), filepath.Join(s.lab.Dir(), "fetched")
	if want := home.archived(); !slices.Equal(names, want) {
		t.Fatalf("the repository has %v, the archive %v", names, want)
	}
	s.holdstill(append([]string{"binlog", "fetch", "--instance", "shop", "--out", out}, names...)...).want(t, 0)
	for _, name := range names {
		ours, theirs := must(os.ReadFile(filepath.Join(out, name)))(t), must(os.ReadFile(filepath.Join(home.server.Datadir, name)))(t)
		theirs[21] &^= 1 // in use
		if ours[21] &^= 1; !bytes.Equal(ours, theirs[:min(len(ours), len(theirs))]) || len(theirs)-len(ours) > 0 {
			t.Errorf("%s: %d bytes were fetched, and the server's %d are others", name, len(ours), len(theirs))
		}
	}
}

// twin is another machine with an archive of an instance of the same name: neither gets in the way of the other.
func (s *shop) twin(other *shop) {
	t := s.t
	t.Helper()
	twin := s.another("twin")
	check(t, os.WriteFile(twin.config, must(os.ReadFile(s.config))(t), 0o600))
	twin.holdstill("binlog", "archive", "--once").want(t, 0)
	o := other.holdstill("binlog", "list", "shop").want(t, 2)
	contains(t, o.stderr, "several machines", "twin", "--host")
	if names := other.archived("shop", "--host", "twin"); !slices.Equal(names, s.archived()) {
		t.Errorf("the twin shipped %v", names)
	}
	other.home = []string{"--host", must(os.Hostname())(t)}
}

// lost takes the local archive away, and begins another one with what the server has left.
func (s *shop) lost(last moment) {
	t := s.t
	t.Helper()
	before := s.archived()
	check(t, os.RemoveAll(filepath.Join(s.state, "binlog")))
	check(t, s.server.Exec(t.Context(), "PURGE BINARY LOGS TO '"+last.file+"'"))
	s.holdstill("binlog", "archive", "--once").want(t, 0)
	if now := s.archived(); !slices.Equal(now, before) {
		t.Errorf("before the archive was lost there were %v, then %v", before, now)
	}
	var logs []struct {
		Gap          *struct{ Reason string }
		Here, Stored bool
	}
	check(t, json.Unmarshal([]byte(s.holdstill("--json", "binlog", "list").want(t, 0).stdout), &logs))
	path := filepath.Join(s.state, "binlog", "shop", "00000001-"+last.file)
	whole := must(os.ReadFile(path))(t)
	check(t, os.WriteFile(path, slices.Concat(whole[:300], []byte{whole[300] ^ 1}, whole[301:]), 0o600))
	sound := filepath.Join(s.lab.Dir(), "sound")
	s.holdstill("binlog", "fetch", last.file, "--out", sound).want(t, 0)
	if got := must(os.ReadFile(filepath.Join(sound, last.file)))(t); !bytes.Equal(got, whole) {
		t.Errorf("what is damaged here was fetched as %d other bytes", len(got))
	}
	check(t, os.WriteFile(path, whole, 0o600))
	for i, l := range logs {
		if l.Gap != nil || !l.Stored || l.Here != (i == len(logs)-1) {
			t.Errorf("log %d of %d: %+v", i, len(logs), l)
		}
	}
}

// prunesBoth removes what no point needs, here and there.
func (s *shop) prunesBoth(other *shop, p *catalog.Point) {
	t := s.t
	t.Helper()
	contains(t, s.holdstill("prune", "--dry-run").want(t, 0).stdout, "binary logs of shop in the repository", "2 files")
	if now := s.archived(); now[0] != "binlog.000001" {
		t.Errorf("--dry-run left %v", now)
	}
	s.holdstill("prune").want(t, 0)
	if now := other.archived("shop", "--host", "twin"); now[0] != "binlog.000001" {
		t.Errorf("pruned were the twin's: %v", now)
	}
	if now := other.archived(append(other.home, "shop")...); now[0] != p.Position.File {
		t.Errorf("pruned, and there are %v", now)
	}
	contains(t, s.holdstill("repository", "check", "--read", "100").want(t, 0).stdout, "binary logs", "no damage")
	contains(t, s.holdstill("repository", "status").want(t, 0).stdout, "LOGS", "shop")
}

// another is the same shop as a machine sees it that has nothing but the repository.
func (s *shop) another(host string) *shop {
	t := s.t
	t.Helper()
	o := *s
	o.host = host
	o.state, o.run = filepath.Join(s.lab.Dir(), host+"-state"), must(os.MkdirTemp("/run", "holdstill-e2e-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(o.run) })
	o.config = filepath.Join(s.lab.Dir(), host+".yaml")
	text := must(os.ReadFile(s.config))(t)
	_, repository, _ := bytes.Cut(text, []byte("repository:\n"))
	check(t, os.WriteFile(o.config, append([]byte("repository:\n"), repository...), 0o600))
	o.holdstill("repository", "connect").want(t, 0)
	return &o
}
