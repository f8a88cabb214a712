package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestPointIsExact takes points under writers and restores them: every commit that was acknowledged before the hold is there, none
// that was acknowledged after it, and the restored server stands at exactly the recorded position.
func TestPointIsExact(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, build lab.Build) {
		for _, storage := range []string{onBtrfs, onImage} {
			t.Run("source, hot, "+storage, func(t *testing.T) { exact(t, open(t, build, storage), "hot") })
		}
		t.Run("source, cold", func(t *testing.T) { exact(t, open(t, build, onBtrfs), "cold") })
	})
}

// Commits that the writer saw acknowledged within this time of the window's edges may fall on either side: its clock reads and
// ours are some scheduling apart.
const edge = 2 * time.Millisecond

func exact(t *testing.T, s *shop, mode string) {
	writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 4}))(t)
	time.Sleep(time.Second)
	p := s.backup("--mode", mode)
	time.Sleep(300 * time.Millisecond)
	seen := writer.Stop()

	if p.Consistency != catalog.Application || p.Position.File == "" || p.Role != database.Standalone || string(p.Mode) != mode {
		t.Fatalf("%+v", p)
	}
	restored := s.restoreTo(p, filepath.Join(s.volume.Dir, "restored"))
	defer stop(t, restored)
	if got := restored.Position; got.GTID != p.Position.GTID {
		t.Errorf("the restored server stands at %q, the point says %q", got.GTID, p.Position.GTID)
	}
	s.exactly(p, rows(t, restored.Socket), seen)
	t.Logf("%d commits, stall %.1f ms, lock %.1f ms, freeze %.1f ms, cut %.1f ms", len(seen.Acked), p.Window.StallMS, p.Window.LockMS, p.Window.FreezeMS, p.Window.SnapshotMS)
	for _, stage := range restored.Times {
		t.Logf("restore: %s %.0f ms", stage.Name, stage.MS)
	}
}

// exactly wants every commit that was acknowledged before the hold, and none that began after it.
func (s *shop) exactly(p *catalog.Point, ids map[int64]bool, seen lab.WriterResult) {
	t := s.t
	t.Helper()
	from, to := windowOf(t, p)
	for _, ack := range seen.Acked {
		switch _, there := ids[ack.ID]; {
		case !there && ack.At.Before(from.Add(-edge)):
			t.Errorf("commit %d was acknowledged %s before the hold, and is lost", ack.ID, from.Sub(ack.At))
		case there && ack.At.Add(-ack.Latency).After(to.Add(edge)):
			t.Errorf("commit %d began %s after the release, and is there", ack.ID, ack.At.Add(-ack.Latency).Sub(to))
		}
	}
}

// windowOf tells when commits were stalled: the stage hold, or, in mode cold, from read-only to the service's return.
func windowOf(t *testing.T, p *catalog.Point) (from, to time.Time) {
	t.Helper()
	for _, s := range p.Stages {
		switch s.Name {
		case "hold", "readonly":
			from = s.StartedAt
			to = from.Add(time.Duration(p.Window.StallMS * float64(time.Millisecond)))
		}
	}
	if from.IsZero() {
		t.Fatalf("no window in the stages %+v", p.Stages)
	}
	return from, to
}

func (s *shop) restoreTo(p *catalog.Point, dir string, args ...string) *restore.Result {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "restore", p.ID, "--datadir", dir, "--start"}, args...)...).want(s.t, 0)
	r := &restore.Result{}
	check(s.t, json.Unmarshal([]byte(o.stdout), r))
	check(s.t, s.lab.Adopt(r.PID))
	return r
}

func stop(t *testing.T, r *restore.Result) {
	t.Helper()
	if p, err := os.FindProcess(r.PID); err == nil {
		_ = p.Kill()
	}
	for deadline := time.Now().Add(20 * time.Second); alive(r.PID) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

func alive(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && (len(tasks) > 1 || len(status) > 0)
}

func rows(t *testing.T, socket string) map[int64]bool {
	t.Helper()
	db := root(t, socket)
	defer db.Close()
	found := must(db.QueryContext(t.Context(), "SELECT id FROM sampledb.sampletable"))(t)
	defer found.Close()
	out := map[int64]bool{}
	for found.Next() {
		var id int64
		check(t, found.Scan(&id))
		out[id] = true
	}
	check(t, found.Err())
	return out
}
