package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// ownWorld is the beginning of a shell script that becomes the agent of a host, in a mount namespace where /etc and /var/log are the test's.
// What makes the agent call us is what "hook install" writes, and nothing else. The volumes of other labs are unmounted there: the agent
// would pin them, and a thaw goes to every file system that it sees.
const ownWorld = `set -e
mount --bind "$DIR/etc" /etc
mount --bind "$DIR/log" /var/log
mount -o remount,bind,ro /sys
findmnt -rno TARGET -t btrfs,ext4,xfs | grep ^/var/tmp/ | grep -v "^$LAB/" | tac | while read -r other; do umount -l "$other"; done
"$HOLDSTILL" --config "$CONFIG" hook install "$HOST"
cd "$DIR"
`

// agentDir makes the directory that is the world of an agent, with a copy of /etc. (An overlay would do, but not where / is one.)
func (s *shop) agentDir() string {
	s.t.Helper()
	dir := filepath.Join(s.lab.Dir(), "agent")
	check(s.t, os.MkdirAll(filepath.Join(dir, "log"), 0o755))
	check(s.t, exec.Command("cp", "-a", "/etc", dir).Run())
	return dir
}

// startAgent runs the script in a mount namespace, and in a network namespace with nothing in it.
func (s *shop) startAgent(dir, host, script string) {
	t := s.t
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--net", "sh", "-c", ownWorld+script)
	cmd.Env = append(os.Environ(), "DIR="+dir, "LAB="+s.lab.Dir(), "HOLDSTILL="+normal, "CONFIG="+s.config, "HOST="+host,
		"HOLDSTILL_STATE="+s.state, "HOLDSTILL_RUN="+s.run)
	said := must(os.Create(filepath.Join(dir, "said")))(t) // not a pipe, which the holder would keep open
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	check(t, cmd.Start())
	t.Cleanup(func() { // before the lab goes
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(said.Name())
			hooks, _ := os.ReadFile(filepath.Join(dir, "log", "qga-fsfreeze-hook.log"))
			t.Logf("%s\n%s", text, hooks)
		}
	})
	check(t, s.lab.Adopt(cmd.Process.Pid)) // all of unshare, sh and the agent
}

// rescue thaws the volume after a while, whatever becomes of this process, of the agent and of what holds.
func (s *shop) rescue() {
	t := s.t
	t.Helper()
	thaw := func() { _ = exec.Command("fsfreeze", "--unfreeze", s.volume.Dir).Run() }
	timer := time.AfterFunc(40*time.Second, thaw)
	last := exec.Command("sh", "-c", `sleep 60; fsfreeze --unfreeze "$1"`, "thaw", s.volume.Dir)
	last.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(t, last.Start())
	t.Cleanup(func() {
		timer.Stop()
		thaw()
		_ = syscall.Kill(-last.Process.Pid, syscall.SIGKILL)
		_ = last.Wait()
	})
}

// guestAgent is Debian's own qemu-guest-agent.
type guestAgent struct {
	shop *shop
	conn net.Conn
	in   *bufio.Reader
	log  string // of the dispatcher
}

func (s *shop) guestAgent() *guestAgent {
	t := s.t
	t.Helper()
	dir := s.agentDir()
	s.startAgent(dir, "qemu", `exec qemu-ga -m unix-listen -p "$DIR/socket" -t "$DIR" -f "$DIR/pid"`)
	a := &guestAgent{shop: s, log: filepath.Join(dir, "log", "qga-fsfreeze-hook.log")}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("unix", filepath.Join(dir, "socket"))
		if err == nil {
			a.conn, a.in = conn, bufio.NewReader(conn)
			return a
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// call runs one command of the agent; an error is what the agent answered.
func (a *guestAgent) call(command string, arguments map[string]any, result any) error {
	t := a.shop.t
	t.Helper()
	if arguments == nil {
		arguments = map[string]any{}
	}
	check(t, a.conn.SetDeadline(time.Now().Add(time.Minute)))
	check(t, json.NewEncoder(a.conn).Encode(map[string]any{"execute": command, "arguments": arguments}))
	line := must(a.in.ReadBytes('\n'))(t)
	var answer struct {
		Return json.RawMessage
		Error  *struct{ Desc string }
	}
	check(t, json.Unmarshal(line, &answer))
	if answer.Error != nil {
		return errors.New(answer.Error.Desc)
	}
	check(t, json.Unmarshal(answer.Return, result))
	return nil
}

// freeze freezes the test's volume, and no other.
func (a *guestAgent) freeze() (count int, err error) {
	a.shop.t.Helper()
	a.shop.rescue()
	err = a.call("guest-fsfreeze-freeze-list", map[string]any{"mountpoints": []string{a.shop.volume.Dir}}, &count)
	return count, err
}

func (a *guestAgent) thaw() (count int, err error) {
	a.shop.t.Helper()
	err = a.call("guest-fsfreeze-thaw", nil, &count)
	return count, err
}

// status is what the agent believes.
func (a *guestAgent) status() (status string) {
	a.shop.t.Helper()
	check(a.shop.t, a.call("guest-fsfreeze-status", nil, &status))
	return status
}

func (s *shop) points() (points []*catalog.Point) {
	s.t.Helper()
	check(s.t, json.Unmarshal([]byte(s.holdstill("--json", "points", "list").want(s.t, 0).stdout), &points))
	return points
}

// onlyPoint is an application-consistent one of a host's snapshot.
func (s *shop) onlyPoint() *catalog.Point {
	s.t.Helper()
	points := s.points()
	if len(points) != 1 {
		s.t.Fatalf("%+v", points)
	}
	p := points[0]
	if p.Consistency != catalog.Application || p.Snapshot.Provider != "external" || p.Position.File == "" {
		s.t.Fatalf("%+v", p)
	}
	return p
}

// TestGuestAgent drives the real agent as a hypervisor does: the hooks are run by it, and it freezes.
func TestGuestAgent(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		before := s.look()
		a := s.guestAgent()
		part := func(name string, work func(a *guestAgent)) {
			t.Run(name, func(t *testing.T) {
				defer func(outer *testing.T) { s.t = outer }(s.t)
				s.t = t
				work(a)
				s.usable()
				s.same(before)
			})
		}
		part("restored from the host's snapshot", (*guestAgent).cycle)
		part("server is down", (*guestAgent).refused)
		part("thaw comes late", (*guestAgent).late)
	})
}

// cycle: freeze, a snapshot, thaw, and a restore from that snapshot, which stands at exactly the recorded position.
func (a *guestAgent) cycle() {
	s, t := a.shop, a.shop.t
	writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 4}))(t)
	time.Sleep(time.Second)
	begun := time.Now()
	if n, err := a.freeze(); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	frozen := time.Since(begun)
	if got := a.status(); got != "frozen" {
		t.Error(got)
	}
	disk := s.clone()
	still := writer.Since(begun.Add(frozen))
	begun = time.Now()
	if n, err := a.thaw(); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	thawed := time.Since(begun)
	time.Sleep(300 * time.Millisecond)
	seen := writer.Stop()
	if len(still) > 0 || len(seen.Errors) > 0 {
		t.Errorf("%d commits while it was frozen, errors %v", len(still), seen.Errors)
	}
	p := s.onlyPoint()
	if p.Window.FreezeMS > 0 {
		t.Errorf("frozen by us: %+v", p.Window)
	}
	s.stands(p, disk, seen, true)
	t.Logf("the agent's freeze %.1f ms, its thaw %.1f ms, both with the hook; stall %.1f ms", ms(frozen), ms(thawed), p.Window.StallMS)
}

// refused: a hook that fails ends the freeze before any file system is frozen.
func (a *guestAgent) refused() {
	s, t := a.shop, a.shop.t
	known := len(s.points())
	check(t, s.server.Stop(t.Context()))
	if n, err := a.freeze(); err == nil || !strings.Contains(err.Error(), "hook") {
		t.Error(n, err)
	}
	if got := a.status(); got != "thawed" {
		t.Error(got)
	}
	check(t, os.WriteFile(filepath.Join(s.volume.Dir, "not-frozen"), nil, 0o600))
	contains(t, string(must(os.ReadFile(a.log))(t)), "not-ready", "fsfreeze-hook: freeze failed, and was taken back: /etc/qemu/fsfreeze-hook.d/50-holdstill (1)")
	check(t, s.server.Start(t.Context()))
	if got := len(s.points()); got != known {
		t.Errorf("%d points, %d before", got, known)
	}
}

// late: a thaw after the deadline fails, but the file systems are thawed.
func (a *guestAgent) late() {
	s, t := a.shop, a.shop.t
	known := len(s.points())
	s.configure("hooks:\n  qemu: {hold: 2s}\n")
	defer s.configure("")
	if n, err := a.freeze(); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if s.lockable() == nil {
		t.Error("the server is not held")
	}
	time.Sleep(2500 * time.Millisecond)
	if err := s.lockable(); err != nil || a.status() != "frozen" {
		t.Errorf("the server is still held: %v", err)
	}
	if n, err := a.thaw(); err == nil || !strings.Contains(err.Error(), "hook") {
		t.Error(n, err)
	}
	if got := a.status(); got != "thawed" {
		t.Error(got)
	}
	contains(t, string(must(os.ReadFile(a.log))(t)), "expired: everything was released after 2s", "thaw failed: /etc/qemu/fsfreeze-hook.d/50-holdstill (1)")
	if got := len(s.points()); got != known {
		t.Errorf("%d points, %d before", got, known)
	}
}

// lockable does what a hold stops, and a frozen file system does not.
func (s *shop) lockable() error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	return s.server.Exec(ctx, "SET SESSION lock_wait_timeout = 1", "LOCK TABLES sampledb.sampletable WRITE", "UNLOCK TABLES")
}

// clone copies the disk's image as it is now.
func (s *shop) clone() (disk string) {
	s.t.Helper()
	disk = filepath.Join(s.outer.Dir, fmt.Sprintf("host-%d.img", time.Now().UnixNano()))
	if out, err := exec.Command("cp", "--reflink=always", s.volume.Image, disk).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return disk
}
