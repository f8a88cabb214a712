package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/wire"
)

// shown is what mount tells.
type shown struct {
	Point  string                        `json:"point"`
	Dir    string                        `json:"dir"`
	From   string                        `json:"from"`
	PID    int                           `json:"pid"`
	Log    string                        `json:"log"`
	Inside []struct{ What, Path string } `json:"inside"`
}

// at is where the mount shows the data directory.
func (m shown) at(t *testing.T) string {
	t.Helper()
	for _, i := range m.Inside {
		if i.What == "data" {
			return i.Path
		}
	}
	t.Fatalf("the mount tells no data directory: %+v", m)
	return ""
}

func (s *shop) mountOf(p *catalog.Point, dir string, args ...string) shown {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "mount", p.ID, dir}, args...)...).want(s.t, 0)
	var m shown
	check(s.t, json.Unmarshal([]byte(o.stdout), &m))
	if m.PID != 0 {
		check(s.t, s.lab.Adopt(m.PID))
	}
	return m
}

// sales fills a table that a server on a mount must then show.
func (s *shop) sales() {
	s.t.Helper()
	check(s.t, s.server.Exec(s.t.Context(), "CREATE DATABASE sales", "CREATE TABLE sales.t (id INT PRIMARY KEY AUTO_INCREMENT, pad CHAR(200) NOT NULL)",
		"INSERT INTO sales.t (pad) VALUES ('x')"))
	for range doublings {
		check(s.t, s.server.Exec(s.t.Context(), "INSERT INTO sales.t (pad) SELECT pad FROM sales.t"))
	}
}

// doublings makes the table larger for a measurement: 21 are half a GiB.
var doublings = doublingsOf(os.Getenv("HOLDSTILL_DOUBLINGS"))

func doublingsOf(s string) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return 14
}

// TestMountCut shows a local cut, lets a server come up on an overlay of it, and takes it away.
func TestMountCut(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		for _, storage := range []string{onBtrfs, onImage} {
			t.Run(storage, func(t *testing.T) {
				s := open(t, build, storage)
				s.sales()
				p := s.backup()
				before := s.loops()
				dir := filepath.Join(s.lab.Dir(), "point")
				start := time.Now()
				m := s.mountOf(p, dir)
				t.Logf("mounted after %s", time.Since(start).Round(time.Millisecond))
				if m.From != "local" || m.Point != p.ID || m.at(t) != filepath.Join(dir, s.server.Datadir) {
					t.Errorf("mounted %+v", m)
				}
				readOnly(t, m.at(t))
				contains(t, s.holdstill("points", "show", p.ID).want(t, 0).stdout, s.server.Datadir)
				s.holdstill("points", "rm", p.ID).want(t, 5)
				s.busy(m)
				s.onOverlay(m, s.scratch())
				if storage == onBtrfs {
					s.onOverlay(m, filepath.Join(s.volume.Dir, "scratch")) // beside the cut: what is written to is cloned, not copied
				}
				s.holdstill("mount", p.ID, dir).want(t, 2)
				s.holdstill("umount", dir).want(t, 0)
				gone(t, dir, s.state)
				if after := s.loops(); after != before {
					t.Errorf("%d loop devices, before %d", after, before)
				}
				s.holdstill("umount", dir).want(t, 4)
			})
		}
	})
}

// TestMountStored does the same with what the repository holds, and kills the process that serves it.
func TestMountStored(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		s.sales()
		s.stocked()
		p := s.backup()
		dir := filepath.Join(s.lab.Dir(), "point")
		start := time.Now()
		m := s.mountOf(p, dir, "--from", "repository")
		t.Logf("mounted after %s", time.Since(start).Round(time.Millisecond))
		if m.From != "repository" || m.PID == 0 {
			t.Fatalf("mounted %+v", m)
		}
		detached(t, m.PID)
		readOnly(t, m.at(t))
		s.sameFiles(p, m)
		s.busy(m)
		s.holdstill("umount", dir).want(t, 0)
		gone(t, dir, s.state)
		awaitEnd(t, m.PID)                            // it has forgotten the mount, and may still be closing the repository
		m = s.mountOf(p, dir, "--from", "repository") // nothing of it is in the kernel's memory
		s.onOverlay(m, s.scratch())
		check(t, syscall.Kill(m.PID, syscall.SIGTERM))
		awaitEnd(t, m.PID)
		gone(t, dir, s.state)

		for _, clean := range [][]string{{"umount", dir}, {"recover"}, {"mount", p.ID, dir, "--from", "local"}} {
			m = s.mountOf(p, dir, "--from", "repository")
			kill(t, m.PID)
			if _, err := os.Open(m.at(t) + "/ibdata1"); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
				t.Errorf("after the kill: %v", err)
			}
			s.holdstill(clean...).want(t, 0)
			if clean[0] == "mount" {
				s.holdstill("umount", dir).want(t, 0)
			}
			gone(t, dir, s.state)
		}
		s.forced(s.mountOf(p, dir, "--from", "repository"))
	})
}

// stocked gives the shop a repository.
func (s *shop) stocked() {
	s.t.Helper()
	secret := filepath.Join(s.lab.Dir(), "password")
	check(s.t, os.WriteFile(secret, []byte("a long password\n"), 0o600))
	r := &config.Repository{URL: filepath.Join(s.lab.Dir(), "store"), PasswordFile: secret}
	text := must(os.ReadFile(s.config))(s.t)
	text = fmt.Appendf(text, "repository:\n  url: %s\n  password_file: %s\n", r.URL, r.PasswordFile)
	check(s.t, os.WriteFile(s.config, text, 0o600))
	check(s.t, os.MkdirAll(s.state, 0o700))
	store := must(wire.InitRepository(s.t.Context(), r, config.Dirs{State: s.state, Run: s.run}, nil))(s.t)
	check(s.t, store.Close(s.t.Context()))
}

func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing to a mount: %v", err)
	}
}

// sameFiles compares what the repository gives with the local cut.
func (s *shop) sameFiles(p *catalog.Point, stored shown) {
	s.t.Helper()
	dir := filepath.Join(s.lab.Dir(), "cut")
	local := s.mountOf(p, dir)
	files, bytesRead := 0, 0
	check(s.t, filepath.WalkDir(stored.at(s.t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		other := local.at(s.t) + strings.TrimPrefix(path, stored.at(s.t))
		a, b := must(os.ReadFile(path))(s.t), must(os.ReadFile(other))(s.t)
		x, y := must(os.Stat(path))(s.t), must(os.Stat(other))(s.t)
		if !bytes.Equal(a, b) || x.Mode() != y.Mode() || !x.ModTime().Equal(y.ModTime()) || x.Sys().(*syscall.Stat_t).Uid != y.Sys().(*syscall.Stat_t).Uid {
			s.t.Errorf("%s differs from the cut", path)
		}
		files, bytesRead = files+1, bytesRead+len(a)
		return nil
	}))
	if files < 20 {
		s.t.Errorf("only %d files were compared", files)
	}
	s.t.Logf("%d files, %d MiB compared", files, bytesRead>>20)
	s.holdstill("umount", dir).want(s.t, 0)
}

// busy wants that umount tells who uses the mount, and changes nothing.
func (s *shop) busy(m shown) {
	t := s.t
	t.Helper()
	user := exec.Command("sleep", "100")
	user.Dir = m.at(t)
	check(t, user.Start())
	check(t, s.lab.Adopt(user.Process.Pid))
	before := mountsBelow(t, m.Dir)
	o := s.holdstill("umount", m.Dir).want(t, 5)
	contains(t, o.stderr, strconv.Itoa(user.Process.Pid), "sleep", "--force")
	if after := mountsBelow(t, m.Dir); after != before {
		t.Errorf("an umount that was refused left\n%s\nof\n%s", after, before)
	}
	check(t, user.Process.Kill())
	_ = user.Wait()
}

// forced takes a mount away from somebody who uses it, who can go on.
func (s *shop) forced(m shown) {
	t := s.t
	t.Helper()
	f := must(os.Open(m.at(t) + "/ibdata1"))(t)
	s.holdstill("umount", m.Dir).want(t, 5)
	s.holdstill("umount", "--force", m.Dir).want(t, 0)
	if n, err := f.ReadAt(make([]byte, 4096), 4<<20); n != 4096 {
		t.Errorf("a file that was open: %v", err)
	}
	check(t, f.Close())
	awaitEnd(t, m.PID)
	gone(t, m.Dir, s.state)
}

// scratch is a tmpfs of the lab.
func (s *shop) scratch() string {
	s.t.Helper()
	dir := filepath.Join(s.lab.Dir(), "scratch")
	check(s.t, os.Mkdir(dir, 0o755))
	check(s.t, exec.Command("mount", "-t", "tmpfs", "-o", "mode=0755,size=2g", "scratch", dir).Run())
	return dir
}

// onOverlay starts a server on a writable layer over the mount and asks it.
func (s *shop) onOverlay(m shown, scratch string) {
	t := s.t
	t.Helper()
	start := time.Now()
	check(t, os.MkdirAll(scratch, 0o755))
	var st syscall.Stat_t
	check(t, syscall.Stat(m.at(t), &st))
	for _, name := range []string{"upper", "work", "data", "run"} {
		check(t, errors.Join(os.Mkdir(filepath.Join(scratch, name), 0o750), os.Chown(filepath.Join(scratch, name), int(st.Uid), int(st.Gid))))
	}
	data := filepath.Join(scratch, "data")
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", m.at(t), scratch, scratch)
	if out, err := exec.Command("mount", "-t", "overlay", "-o", options, "overlay", data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() { check(t, exec.Command("umount", data).Run()) }()
	contains(t, s.holdstill("umount", m.Dir).want(t, 5).stderr, "overlay at "+data)

	socket := filepath.Join(scratch, "run", "s")
	file := filepath.Join(scratch, "my.cnf")
	text := must(os.ReadFile(s.server.OptionFile))(t)
	own := fmt.Sprintf("\n[mysqld]\ndatadir=%s\nsocket=%s\npid-file=%s.pid\nlog-error=%s.err\nskip-networking\ntmpdir=%s/run\n", data, socket, socket, socket, scratch)
	check(t, os.WriteFile(file, append(text, own...), 0o644))
	server := exec.Command(s.server.Build.Server, "--defaults-file="+file)
	server.Env = append(os.Environ(), s.server.Build.Env...)
	check(t, server.Start())
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	check(t, s.lab.Adopt(server.Process.Pid))
	if got := firstAnswer(t, socket); got != strconv.Itoa(1<<doublings) {
		raw, _ := os.ReadFile(socket + ".err")
		t.Fatalf("the server on the overlay counts %q\n%s", got, raw)
	}
	took := time.Since(start)
	copied := must(exec.Command("du", "-sm", filepath.Join(scratch, "upper")).Output())(t)
	whole := must(exec.Command("du", "-sm", "--apparent-size", m.at(t)).Output())(t)
	t.Logf("ATTENTION: from the %s mount to the first query on an overlay at %s: %s; MiB in the upper layer: %s of %s", m.From, filepath.Dir(scratch), took.Round(time.Millisecond),
		strings.Fields(string(copied))[0], strings.Fields(string(whole))[0])
}

// firstAnswer counts as soon as the server answers; "" if it never does.
func firstAnswer(t *testing.T, socket string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		db := root(t, socket)
		var n string
		err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sales.t").Scan(&n)
		_ = db.Close()
		if err == nil {
			return n
		}
	}
	return ""
}

// detached wants a process of a session of its own, that holds no terminal and no pipe of ours.
func detached(t *testing.T, pid int) {
	t.Helper()
	sid, err := sessionOf(pid)
	if err != nil || sid != pid {
		t.Errorf("the session of process %d is %d: %v", pid, sid, err)
	}
	for fd := range 3 {
		if target := must(os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)))(t); target != "/dev/null" {
			t.Errorf("descriptor %d of process %d is %s", fd, pid, target)
		}
	}
}

func sessionOf(pid int) (int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	return strconv.Atoi(fields[3])
}

func kill(t *testing.T, pid int) {
	t.Helper()
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitEnd(t, pid)
}

func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); alive(pid) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if alive(pid) {
		t.Errorf("process %d did not end", pid)
	}
}

// gone wants no mount, no directory and no note.
func gone(t *testing.T, dir, state string) {
	t.Helper()
	if left := mountsBelow(t, dir); left != "" {
		t.Errorf("still mounted:\n%s", left)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory that was made is left: %v", err)
	}
	for _, n := range names(t, filepath.Join(state, "mounts")) {
		if !strings.HasSuffix(n, ".log") {
			t.Errorf("left in the state: %s", n)
		}
	}
}

func mountsBelow(t *testing.T, dir string) string {
	t.Helper()
	raw := must(os.ReadFile("/proc/self/mountinfo"))(t)
	var out []string
	for line := range strings.Lines(string(raw)) {
		if at := strings.Fields(line)[4]; at == dir || strings.HasPrefix(at, dir+"/") {
			out = append(out, at)
		}
	}
	return strings.Join(out, "\n")
}

// loops counts the loop devices over files of the lab; they go away a little after their last user.
func (s *shop) loops() int {
	s.t.Helper()
	time.Sleep(500 * time.Millisecond)
	out := must(exec.Command("losetup", "-nlO", "BACK-FILE").Output())(s.t)
	return strings.Count(string(out), s.lab.Dir()+"/")
}
