package powercut

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestPowerCutAtEveryBoundary cuts the power of a real disk, under a server with writers, at every boundary that a hot backup passes. After
// the reboot and a recover no acknowledged commit is lost, nothing is left behind, and every point that is listed can be restored.
func TestPowerCutAtEveryBoundary(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		l := labtest.New(t)
		binary := faulty(t, l)
		t.Run(onBtrfs, func(t *testing.T) { open(t, l, binary, build, onBtrfs).campaign(every) })
		wanted := every
		if build.Product == lab.MySQL { // it takes seconds to start after each cut
			wanted = between
		}
		t.Run(onImage, func(t *testing.T) { open(t, l, binary, build, onImage).campaign(wanted) })
	})
}

func every(string) bool { return true }

// between are the boundaries at which the storage is in a state that it is in at no other.
func between(boundary string) bool {
	return slices.Contains([]string{"freeze.acted", "cut.acted", "freeze.undone", "cut.finished", "record.written"}, boundary)
}

// TestPowerCutLosesCommits runs a server that writes before it acknowledges, and syncs once a second: kill -9 would lose nothing, and
// what the test above looks for must be found here.
func TestPowerCutLosesCommits(t *testing.T) {
	l := labtest.New(t)
	s := open(t, l, faulty(t, l), must(lab.Find("mariadb-10.11"))(t), onBtrfs, "innodb-flush-log-at-trx-commit=2", "sync-binlog=0")
	for range 3 { // a sync may come just before the cut
		writer := s.write()
		time.Sleep(500 * time.Millisecond)
		s.cut(writer)
		s.reboot()
		if lost := s.lost(); lost > 0 {
			t.Logf("%d of %d commits lost", lost, len(s.acked))
			return
		}
	}
	t.Errorf("all of %d commits that were not synced are there", len(s.acked))
}

// faulty builds the program with fault injection, in the lab, so that it is gone with it.
func faulty(t *testing.T, l *lab.Lab) string {
	t.Helper()
	binary := filepath.Join(l.Dir(), "holdstill-fault")
	build := exec.Command("go", "build", "-tags", "fault", "-o", binary, "../../cmd/holdstill")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build holdstill: %v\n%s", err, out)
	}
	return binary
}

func (s *site) campaign(wanted func(boundary string) bool) {
	writer := s.write()
	boundaries := s.passes()
	s.acked = append(s.acked, writer.Stop().Acked...)
	first := s.points()
	recorded := slices.Index(boundaries, "record.written")
	if len(boundaries) < 12 || recorded < 0 || len(first) != 1 {
		s.t.Fatalf("a backup passes only these boundaries: %v, and leaves the points %v", boundaries, first)
	}
	cuts := 0
	for i, boundary := range boundaries {
		if !wanted(boundary) {
			continue
		}
		cuts++
		s.cutAt(boundary, i >= recorded)
		if s.t.Failed() {
			s.t.Fatalf("at %s", boundary)
		}
	}
	for id := range first { // the oldest has seen every cut
		s.exact(s.points()[id])
	}
	s.killAll() // the next one needs the memory
	s.t.Logf("%d cuts, %d commits acknowledged, none lost", cuts+1, len(s.acked))
}

func (s *site) write() *lab.Writer {
	s.t.Helper()
	return must(s.server.Write(s.t.Context(), lab.WriterOptions{Workers: 2}))(s.t)
}

// passes takes a backup without a fault and tells the boundaries that it passes, in their order.
func (s *site) passes() []string {
	s.t.Helper()
	trace := filepath.Join(s.run, "trace")
	cmd := s.command([]string{"HOLDSTILL_FAULT_TRACE=" + trace}, "backup", "--mode", "hot")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	var passed []string
	for _, boundary := range strings.Fields(string(must(os.ReadFile(trace))(s.t))) {
		if !slices.Contains(passed, boundary) {
			passed = append(passed, boundary)
		}
	}
	return passed
}

// cutAt lets a backup come to the boundary, cuts the power there, and looks at what is left.
func (s *site) cutAt(boundary string, recorded bool) {
	s.t.Helper()
	before := s.points()
	writer := s.write()
	s.hangAt(boundary)
	time.Sleep(20 * time.Millisecond) // commits go on where nothing is held
	s.cut(writer)
	s.reboot()
	s.sound(boundary)
	if boundary == "cut.finished" { // what recover took back stays taken back
		check(s.t, s.disk.Cut())
		s.reboot()
		s.sound(boundary + " and again")
	}
	after := s.points()
	if want := len(before) + map[bool]int{true: 1}[recorded]; len(after) != want {
		s.t.Fatalf("%s: %d points, want %d", boundary, len(after), want)
	}
	for id, p := range after {
		if before[id] == nil {
			s.exact(p)
		}
	}
}

// cut cuts the power. What was acknowledged until then is what must not be lost.
func (s *site) cut(writer *lab.Writer) {
	s.t.Helper()
	s.acked = append(s.acked, writer.Seen().Acked...)
	check(s.t, s.disk.Cut())
	s.killAll()
	writer.Stop()
}

// hangAt starts a backup and returns when it hangs at the boundary.
func (s *site) hangAt(boundary string) {
	s.t.Helper()
	trace, log := filepath.Join(s.run, "trace"), must(os.Create(filepath.Join(s.lab.Dir(), "backup.log")))(s.t)
	defer log.Close()
	cmd := s.command([]string{"HOLDSTILL_FAULT=" + boundary + ":hang", "HOLDSTILL_FAULT_TRACE=" + trace}, "backup", "--mode", "hot")
	cmd.Stdout, cmd.Stderr = log, log
	check(s.t, cmd.Start())
	check(s.t, s.lab.Adopt(cmd.Process.Pid))
	go func() { _ = cmd.Wait() }() // it ends by our kill, after the cut
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		passed, _ := os.ReadFile(trace)
		if slices.Contains(strings.Fields(string(passed)), boundary) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s was not reached: %s%s", boundary, passed, must(os.ReadFile(log.Name()))(s.t))
		}
	}
}

// sound recovers and looks from outside: no ledger is left, each snapshot is of a point and each point has its snapshots, and every
// commit that was ever acknowledged is there.
func (s *site) sound(when string) {
	s.t.Helper()
	s.holdstill("recover").want(s.t, when+": recover")
	if left := names(s.t, filepath.Join(s.state, "runs")); len(left) > 0 {
		s.t.Errorf("%s: ledgers are left: %v", when, left)
	}
	cuts, wanted := s.cuts(), []string{}
	for _, p := range s.points() {
		for _, ref := range p.Snapshot.Refs {
			wanted = append(wanted, ref.Name)
		}
	}
	slices.Sort(cuts)
	slices.Sort(wanted)
	if !slices.Equal(cuts, wanted) {
		s.t.Errorf("%s: the points have the snapshots %v, and there are %v", when, wanted, cuts)
	}
	if lost := s.lost(); lost > 0 {
		s.t.Errorf("%s: %d of %d acknowledged commits are lost", when, lost, len(s.acked))
	}
}

// lost counts the commits that were acknowledged and are not there.
func (s *site) lost() int {
	s.t.Helper()
	there, lost := rows(s.t, s.server.Socket), 0
	for _, a := range s.acked {
		if !there[a.ID] {
			lost++
		}
	}
	return lost
}

// Commits that the writer saw acknowledged within this time of the window's edges may fall on either side: its clock reads and
// ours are some scheduling apart.
const edge = 2 * time.Millisecond

// exact restores a point: what was acknowledged before its window is there, what began after it is not, and it stands at its position.
func (s *site) exact(p *catalog.Point) {
	s.t.Helper()
	restored, there := s.restored(p.ID)
	if p.Consistency != catalog.Application || restored.Position.GTID != p.Position.GTID {
		s.t.Errorf("the point %s is %s and stands at %q; restored it stands at %q", p.ID, p.Consistency, p.Position.GTID, restored.Position.GTID)
	}
	from, to := windowOf(s.t, p)
	for _, a := range s.acked {
		switch {
		case !there[a.ID] && a.At.Before(from.Add(-edge)):
			s.t.Fatalf("point %s: commit %d was acknowledged %s before the hold, and is lost", p.ID, a.ID, from.Sub(a.At))
		case there[a.ID] && a.At.Add(-a.Latency).After(to.Add(edge)):
			s.t.Fatalf("point %s: commit %d began %s after the release, and is there", p.ID, a.ID, a.At.Add(-a.Latency).Sub(to))
		}
	}
}

// windowOf tells when commits were stalled.
func windowOf(t *testing.T, p *catalog.Point) (from, to time.Time) {
	t.Helper()
	for _, s := range p.Stages {
		if s.Name == "hold" {
			from = s.StartedAt
			to = from.Add(time.Duration(p.Window.StallMS * float64(time.Millisecond)))
		}
	}
	if from.IsZero() {
		t.Fatalf("no window in the stages %+v", p.Stages)
	}
	return from, to
}
