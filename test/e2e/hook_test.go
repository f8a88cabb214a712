package e2e

import (
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
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// host is a cloud or hypervisor as the guest sees it, in our own words: it calls before and after, and takes its snapshot between.
type host struct {
	name      string
	pre, post []string
	freezes   bool // the file systems, by itself, around its snapshot
	late      int  // its contract's code for a post after the deadline
	lonely    int  // for a post without a pre
}

func hosts() []host {
	return []host{
		{"azure", []string{"pre"}, []string{"post"}, true, 1, 1},
		{"qemu", []string{"freeze"}, []string{"thaw"}, true, 1, 1},
		{"gcp", []string{"pre", "0/1,0/2"}, []string{"post", "0/1,0/2"}, false, 1, 1},
		{"aws", []string{"pre-script", "exec-1"}, []string{"post-script", "exec-1"}, false, 203, 205},
		{"vmware", []string{"freeze"}, []string{"thaw"}, true, 1, 1},
		{"veeam", []string{"pre"}, []string{"post"}, true, 1, 1},
	}
}

func hostNamed(name string) host {
	for _, h := range hosts() {
		if h.name == name {
			return h
		}
	}
	panic("no host " + name)
}

// answer is what a hook prints with --json.
type answer struct {
	Outcome string           `json:"outcome"`
	Message string           `json:"message"`
	Code    int              `json:"code"`
	Points  []*catalog.Point `json:"points"`
}

func (s *shop) hook(h host, args []string, code int) answer {
	s.t.Helper()
	return s.hookWithFault("", h, args, code)
}

func (s *shop) hookWithFault(fault string, h host, args []string, code int) answer {
	s.t.Helper()
	o := s.withFault(fault, append([]string{"--json", "hook", h.name}, args...)...).want(s.t, code)
	var a answer
	if err := json.Unmarshal([]byte(o.stdout), &a); err != nil {
		s.t.Fatalf("%v: %s%s", err, o.stdout, o.stderr)
	}
	if a.Code != code {
		s.t.Errorf("the answer says code %d, the process ended with %d", a.Code, code)
	}
	return a
}

// snapshot is what the host does between its calls, and how long it takes for it: a clone of the disk's image.
func (s *shop) snapshot(h host) (disk string, took time.Duration) {
	s.t.Helper()
	disk = filepath.Join(s.outer.Dir, fmt.Sprintf("host-%d.img", time.Now().UnixNano()))
	begun := time.Now()
	if h.freezes {
		rescue := time.AfterFunc(20*time.Second, func() { _ = exec.Command("fsfreeze", "--unfreeze", s.volume.Dir).Run() })
		defer rescue.Stop()
		check(s.t, exec.Command("fsfreeze", "--freeze", s.volume.Dir).Run())
	}
	out, err := exec.Command("cp", "--reflink=always", s.volume.Image, disk).CombinedOutput()
	if h.freezes {
		check(s.t, exec.Command("fsfreeze", "--unfreeze", s.volume.Dir).Run())
	}
	if err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return disk, time.Since(begun)
}

// TestHosts goes the whole way with every host: pre, the host's own snapshot, post, and a restore from that snapshot, which stands at
// exactly the recorded position.
func TestHosts(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		for _, h := range hosts() {
			t.Run(h.name, func(t *testing.T) { s.t = t; s.cycle(h, s.server, catalog.Application) })
		}
		t.Run("replica", func(t *testing.T) {
			s := openFollower(t, build)
			s.cycle(hostNamed("azure"), s.source, catalog.Application)
			s.cycle(hostNamed("aws"), s.source, catalog.Application)
		})
	})
}

// follower is a replica under care, and its source.
type follower struct {
	*shop
	source *lab.Server
}

func openFollower(t *testing.T, build lab.Build) follower {
	t.Helper()
	l := labtest.New(t)
	source := must(l.Server(t.Context(), build, lab.Spec{Name: "source"}))(t)
	check(t, source.Start(t.Context()))
	s := openIn(t, l, build, onImage, "shop", lab.Spec{})
	check(t, lab.Replicate(t.Context(), source, s.server, lab.ReplicateOptions{GTID: true}))
	s.awaitThreads()
	return follower{s, source}
}

func (s *shop) cycle(h host, writesTo *lab.Server, want catalog.Consistency) {
	t := s.t
	before := s.look()
	writer := must(writesTo.Write(t.Context(), lab.WriterOptions{Workers: 4}))(t)
	time.Sleep(time.Second)
	s.hook(h, h.pre, 0)
	disk, took := s.snapshot(h)
	a := s.hook(h, h.post, 0)
	time.Sleep(300 * time.Millisecond)
	seen := writer.Stop()
	s.usable()
	s.same(before)

	if len(a.Points) != 1 || a.Outcome != "released" {
		t.Fatalf("%+v", a)
	}
	p := a.Points[0]
	if p.Consistency != want || p.Snapshot.Provider != "external" || p.Position.File == "" {
		t.Fatalf("%+v", p)
	}
	if frozen := p.Window.FreezeMS > 0; frozen == h.freezes {
		t.Errorf("frozen by us: %v", frozen)
	}
	o := s.holdstill("restore", p.ID, "--datadir", "/nowhere").want(t, 2)
	contains(t, o.stderr, "--disk")
	s.stands(p, disk, seen, writesTo == s.server)
	t.Logf("%s: stall %.1f ms, of which the host's snapshot %.1f ms: ours %.1f ms", h.name, p.Window.StallMS, ms(took), p.Window.StallMS-ms(took))
}

// stands restores from the host's snapshot: the server is at exactly the point, with what the writer saw if it wrote to this server.
func (s *shop) stands(p *catalog.Point, disk string, seen lab.WriterResult, wrote bool) {
	t := s.t
	t.Helper()
	dir := filepath.Join(s.volume.Dir, "restored-"+p.ID)
	restored := s.restoreTo(p, dir, "--disk", disk)
	if restored.Position.GTID != p.Position.GTID {
		t.Errorf("the restored server stands at %q, the point says %q", restored.Position.GTID, p.Position.GTID)
	}
	if wrote {
		s.exactly(p, rows(t, restored.Socket), seen)
	}
	stop(t, restored)
	check(t, os.RemoveAll(dir))
	check(t, os.Remove(disk))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// TestHostsOutOfTurn calls in the wrong order, twice and late: the contract's answer, and nobody is hurt.
func TestHostsOutOfTurn(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		before := s.look()
		for _, h := range hosts() {
			t.Run(h.name, func(t *testing.T) {
				s.t = t
				s.configure(fmt.Sprintf("hooks:\n  %s: {hold: 30s}\n", h.name))
				s.hook(h, h.post, h.lonely)

				s.hook(h, h.pre, 0)
				if h.name == "aws" {
					s.hook(h, h.pre, 204)
				} else {
					s.hook(h, h.pre, 0)
				}
				s.hook(h, h.post, 0)
				if h.name == "aws" {
					s.hook(h, h.post, h.lonely)
				} else if again := s.hook(h, h.post, 0); len(again.Points) != 1 {
					t.Errorf("the second post names %d points", len(again.Points))
				}

				s.configure(fmt.Sprintf("hooks:\n  %s: {hold: 1s}\n", h.name))
				s.hook(h, h.pre, 0)
				s.saysInLog(h, "did not call post in time")
				s.usable()
				if a := s.hook(h, h.post, h.late); a.Outcome != "expired" || len(a.Points) > 0 {
					t.Errorf("%+v", a)
				}
				s.same(before)
			})
		}
	})
}

// saysInLog waits until the holder says something in its log.
func (s *shop) saysInLog(h host, text string) {
	s.t.Helper()
	var log []byte
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(string(log), text); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the log of %s does not say %q:\n%s", h.name, text, log)
		}
		log, _ = os.ReadFile(filepath.Join(s.state, "hooks", h.name+".log"))
	}
}

// TestHolderDies kills the process that holds, in mid-hold: within a second all is released, and the post says that the snapshot is
// worth less.
func TestHolderDies(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		before := s.look()
		for _, h := range []host{hostNamed("azure"), hostNamed("gcp")} {
			s.hook(h, h.pre, 0)
			pid := s.holder(h)
			check(t, exec.Command("kill", "-9", fmt.Sprint(pid)).Run())
			time.Sleep(time.Second)
			s.usable()
			if a := s.hook(h, h.post, 1); a.Outcome != "lost" {
				t.Errorf("%+v", a)
			}
			s.same(before)
		}
	})
}

// TestFaultsOfAHolder kills the process that holds a replica, and its frozen disk, at every boundary that it passes (with MySQL: lets
// each of them fail). All is let go within a second, and after recover all is as before.
func TestFaultsOfAHolder(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		kind := map[string]string{lab.MariaDB: "kill", lab.MySQL: "error"}[build.Product]
		s, h := openFollower(t, build), hostNamed("aws")
		before := s.look()
		boundaries := s.passesBetween(h)
		for _, boundary := range boundaries {
			if s.withFault(boundary+":"+kind, "hook", h.name, h.pre[0]).code == 0 {
				s.holdstill("hook", h.name, h.post[0])
			}
			time.Sleep(time.Second)
			s.usable()
			if r := s.holdstill("recover"); r.code != 0 {
				t.Errorf("%s: recover ended with %d\n%s%s", boundary, r.code, r.stdout, r.stderr)
			}
			s.same(before)
			if t.Failed() {
				t.Fatalf("at %s", boundary)
			}
		}
		t.Logf("%d faults of the kind %s: %v", len(boundaries), kind, boundaries)
	})
}

// passesBetween goes from pre to post without a fault, and tells the boundaries that the holder passes.
func (s *shop) passesBetween(h host) []string {
	s.t.Helper()
	trace := filepath.Join(s.run, "trace")
	defer os.Remove(trace)
	for _, args := range [][]string{h.pre, h.post} {
		cmd := s.command(s.t.Context(), faulty, "", append([]string{"hook", h.name}, args...)...)
		cmd.Env = append(cmd.Env, "HOLDSTILL_FAULT_TRACE="+trace)
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("%v\n%s", err, out)
		}
	}
	passed := traced(s.t, trace)
	for _, wanted := range []string{"replication.act", "hold.act", "freeze.act", "cut.act", "freeze.undo", "record.written"} {
		if !slices.Contains(passed, wanted) {
			s.t.Errorf("the holder does not pass %s: %v", wanted, passed)
		}
	}
	return passed
}

// holder finds the process that holds by its command line.
func (s *shop) holder(h host) int {
	s.t.Helper()
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		words, _ := os.ReadFile(line)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(line), "environ"))
		if strings.Contains(string(words), "hook-holder\x00"+h.name) && strings.Contains(string(environ), "HOLDSTILL_RUN="+s.run) {
			var pid int
			_, err := fmt.Sscan(filepath.Base(filepath.Dir(line)), &pid)
			check(s.t, err)
			return pid
		}
	}
	s.t.Fatal("nobody holds")
	return 0
}

// TestPreDies kills the host's pre before everything is held: nobody was told, so nothing may be held.
func TestPreDies(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		before := s.look()
		for _, h := range []host{hostNamed("azure"), hostNamed("aws")} {
			cmd := s.command(t.Context(), faulty, "hold.acted:sleep", "hook", h.name, h.pre[0])
			check(t, cmd.Start())
			time.Sleep(1500 * time.Millisecond)
			check(t, cmd.Process.Kill())
			_ = cmd.Wait()
			time.Sleep(5 * time.Second)
			s.usable()
			s.same(before)
		}
	})
}

// TestPreInTime gives up at its own limit, before the host does: nothing is held then, and the exit code says what it was.
func TestPreInTime(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		before := s.look()
		for name, code := range map[string]int{"gcp": 124, "azure": 1, "aws": 201} {
			h := hostNamed(name)
			s.configure(fmt.Sprintf("hooks:\n  %s: {limit: 1s}\n", name))
			if a := s.hookWithFault("hold.promise:sleep", h, h.pre, code); a.Outcome != "timed-out" {
				t.Errorf("%+v", a)
			}
			s.usable()
			s.same(before)
			refused := map[string]int{"gcp": 1, "azure": 0, "aws": 205}[name]
			if a := s.hook(h, h.post, refused); a.Outcome != "refused" {
				t.Errorf("%+v", a)
			}
		}
	})
}

// TestLostHoldOfAHost kills the connection that holds: the point says what the snapshot is worth, and so does the exit code.
func TestLostHoldOfAHost(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		h := hostNamed("azure")
		s.hook(h, h.pre, 0)
		for line := range strings.Lines(s.value("SELECT GROUP_CONCAT(ID SEPARATOR '\n') FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER = 'root'")) {
			_ = s.server.Exec(t.Context(), "KILL "+strings.TrimSpace(line))
		}
		a := s.hook(h, h.post, 1)
		if len(a.Points) != 1 || a.Points[0].Consistency != catalog.Filesystem || a.Outcome != "lost" {
			t.Errorf("%+v", a)
		}
		s.usable()
	})
}

// TestAllOrNothing holds two servers, of which one cannot be held: neither stays held. Then both, on one disk, frozen once.
func TestAllOrNothing(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		other := must(s.lab.Server(t.Context(), build, lab.Spec{Name: "other", Datadir: filepath.Join(s.volume.Dir, "other")}))(t)
		s.configure(fmt.Sprintf("  other:\n    option_file: %s\n", other.OptionFile))
		before := s.look()
		for _, h := range []host{hostNamed("qemu"), hostNamed("aws")} {
			failed := map[string]int{"qemu": 1, "aws": 206}[h.name]
			if a := s.hook(h, h.pre, failed); a.Outcome != "not-ready" {
				t.Errorf("%+v", a)
			}
			s.usable()
			s.same(before)
		}
		check(t, other.Start(t.Context()))
		h := hostNamed("aws")
		s.hook(h, h.pre, 0)
		a := s.hook(h, h.post, 0)
		if len(a.Points) != 2 || a.Points[0].Window.FreezeMS == 0 {
			t.Errorf("%+v", a)
		}
		s.usable()
	})
}
