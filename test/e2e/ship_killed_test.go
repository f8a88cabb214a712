package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/store"
)

// oneServer is enough where it is the repository that is looked at.
func oneServer(t *testing.T) *shop {
	t.Helper()
	return open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
}

// inS3 gives the shop a repository in an S3 store behind a proxy that counts.
func (s *shop) inS3(bucket string, more ...string) *store.Proxy {
	t := s.t
	t.Helper()
	e := store.S3(t, t.TempDir())
	if bucket != e.Bucket && bucket != "" {
		check(t, e.MakeBucket(t.Context(), bucket, true))
		e.Bucket = bucket
	}
	p := store.Through(t, e)
	keys := secretFile(t, "[default]\naws_access_key_id = "+e.User+"\naws_secret_access_key = "+e.Secret+"\n")
	s.stockedAt("s3://"+e.Bucket+"/deep", append([]string{fmt.Sprintf("  endpoint: %s\n  region: %s\n  plain_http: true\n  credentials_file: %s\n",
		p.Endpoint().Addr, e.Region, keys)}, more...)...)
	return p
}

// inFlight is what a kill may cost: the pack that was under way.
const inFlight = 24 << 20

// TestShipKilled kills ships at their boundaries and anywhere: the point stays as it is on this machine, nothing is half seen, and the next
// ship ends what was begun without sending it again.
func TestShipKilled(t *testing.T) {
	s := oneServer(t)
	s.furnish(16 << 20)
	proxy := s.inS3("")
	s.backup()
	all, _ := s.shipKilled(proxy, "ship.committed", 0, 0)
	_, took := s.shipKilled(proxy, "ship.begun", 0, all)
	s.shipKilled(proxy, "ship.sent", 0, all)
	for i := range 3 {
		s.shipKilled(proxy, "", time.Duration(i+1)*took/4, all)
	}
	s.holdstill("repository", "check", "--read", "100").want(t, 0)
}

// TestShipSeed looks at what comes over the network with and without an older copy at hand.
func TestShipSeed(t *testing.T) {
	s := oneServer(t)
	s.furnish(16 << 20)
	s.seedSaves(s.inS3(""))
}

// shipKilled takes a point that has much to send, kills its ship, at a boundary or after a time, and ships it again. It returns how much
// was sent before the kill and how long the second ship took; all is what the whole of such a point costs.
func (s *shop) shipKilled(proxy *store.Proxy, boundary string, after time.Duration, all int64) (int64, time.Duration) {
	t := s.t
	t.Helper()
	check(t, s.server.Exec(t.Context(), "UPDATE ship.t SET pad = HEX(RANDOM_BYTES(96))"))
	p := s.backup("--no-ship")
	proxy.Reset()
	what := boundary + after.String()
	if boundary != "" {
		if o := s.withFault(boundary+":kill", "points", "ship", p.ID); o.code != -1 {
			t.Fatalf("%s: not killed: %d %s", what, o.code, o.stderr)
		}
	} else {
		cmd := s.command(t.Context(), normal, "", "points", "ship", p.ID)
		check(t, cmd.Start())
		time.Sleep(after)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	first := proxy.Reset()
	if left := s.holdstill("--json", "points", "show", p.ID).want(t, 0).point(t); left.Repository != nil && boundary != "ship.committed" || len(left.Snapshot.Refs) == 0 {
		t.Errorf("%s: after the kill the point is %s, %+v, %+v", what, left.Status, left.Repository, left.Snapshot)
	}
	s.holdstill("mount", p.ID, filepath.Join(s.lab.Dir(), "look"), "--from", "local").want(t, 0)
	s.holdstill("umount", filepath.Join(s.lab.Dir(), "look")).want(t, 0)
	proxy.Reset()
	begun := time.Now()
	o := s.holdstill("points", "ship", p.ID).want(t, 0)
	took := time.Since(begun)
	second := proxy.Stats()
	if now := s.holdstill("--json", "points", "show", p.ID).want(t, 0).point(t); now.Status != catalog.Shipped || now.Repository == nil {
		t.Errorf("%s: shipped, the point is %s, %+v", what, now.Status, now.Repository)
	}
	if boundary == "ship.committed" {
		contains(t, o.stdout, "already")
		all = first.Up
	}
	t.Logf("%s: %d MiB sent before the kill, %d after", what, first.Up>>20, second.Up>>20)
	if twice := append(first.Twice(), second.Twice()...); len(twice) > 0 {
		t.Errorf("%s: stored twice: %v", what, twice)
	}
	if first.Up+second.Up > all*11/10+inFlight || boundary == "ship.sent" && second.Up > all/4+1<<20 {
		t.Errorf("%s: %d bytes were sent before the kill and %d after, of %d", what, first.Up, second.Up, all)
	}
	return first.Up, took
}

// seedSaves restores with and without a seed.
func (s *shop) seedSaves(proxy *store.Proxy) {
	t := s.t
	t.Helper()
	check(t, s.server.Exec(t.Context(), "UPDATE ship.t SET pad = 'changed' WHERE id < 100"))
	p := s.backup()
	proxy.Reset()
	whole := s.restored(p, "whole", "--from", "repository")
	without := proxy.Reset().Down
	stop(t, whole)
	seeded := s.restored(p, "seeded", "--from", "repository", "--seed", whole.Datadir)
	with := proxy.Reset().Down
	stop(t, seeded)
	t.Logf("ATTENTION: fetched %d MiB without a seed, %d with one", without>>20, with>>20)
	if with > without/2 {
		t.Errorf("with a seed %d bytes came over the network, without %d", with, without)
	}
}

// TestRemovalKilled kills what removes points; afterwards a point is there with all it needs, or can be removed again.
func TestRemovalKilled(t *testing.T) {
	s := oneServer(t)
	s.stockedAt(filepath.Join(s.lab.Dir(), "store"))
	for _, boundary := range []string{"remove.marked", "remove.unlisted"} {
		p, kept := s.backup(), s.backup()
		if o := s.withFault(boundary+":kill", "points", "rm", p.ID); o.code != -1 {
			t.Fatalf("%s: not killed: %d %s", boundary, o.code, o.stderr)
		}
		s.holdstill("points", "list").want(t, 0)
		s.holdstill("points", "rm", p.ID).want(t, 0)
		s.holdstill("points", "show", p.ID).want(t, 4)
		s.holdstill("repository", "check", p.ID).want(t, 4)
		s.holdstill("repository", "check", kept.ID).want(t, 0)
		s.same(s.look())
	}
}

// TestPruneKilled kills a prune that drops snapshots of points that the repository holds: they are still found there.
func TestPruneKilled(t *testing.T) {
	s := oneServer(t)
	s.stockedAt(filepath.Join(s.lab.Dir(), "store"))
	old, last := s.backup(), s.backup()
	s.retain("  last: 9\n  local: 1\n")
	if o := s.withFault("prune.dropped:kill", "prune"); o.code != -1 {
		t.Fatalf("not killed: %d %s%s", o.code, o.stdout, o.stderr)
	}
	r := s.restored(old, "after-kill") // its entry names a snapshot that is gone
	stop(t, r)
	if r.How != "fetch" {
		t.Errorf("restored by %s", r.How)
	}
	s.holdstill("prune").want(t, 0)
	if p := s.holdstill("--json", "points", "show", old.ID).want(t, 0).point(t); len(p.Snapshot.Refs) > 0 || p.Repository == nil {
		t.Errorf("after prune: %+v %+v", p.Snapshot, p.Repository)
	}
	if p := s.holdstill("--json", "points", "show", last.ID).want(t, 0).point(t); len(p.Snapshot.Refs) == 0 {
		t.Error("the newest lost its snapshot")
	}
	s.same(s.look())
}

// retain writes a retention into the configuration.
func (s *shop) retain(text string) {
	s.t.Helper()
	config := must(os.ReadFile(s.config))(s.t)
	check(s.t, os.WriteFile(s.config, append(config, "retention:\n"+text...), 0o600))
}
