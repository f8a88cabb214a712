package powercut

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/restore"
)

// Two ways to store a data directory, one for each snapshot provider.
const (
	onBtrfs = "btrfs"
	onImage = "image"
)

// site is a machine that can lose its power: the database, Holdstill's state and the snapshots lie on one disk.
type site struct {
	t      *testing.T
	lab    *lab.Lab
	disk   *lab.Disk
	volume *lab.Volume // of the data directory
	server *lab.Server
	binary string
	config string
	state  string
	run    string // a tmpfs, as /run is: a reboot empties it
	boot   string // the file with what the kernel would show as boot_id since the last reboot
	boots  int

	acked []lab.Ack // all that was acknowledged before a cut, ever
}

func open(t *testing.T, l *lab.Lab, binary string, build lab.Build, storage string, options ...string) *site {
	t.Helper()
	ctx, name := t.Context(), build.Name+"-"+storage
	s := &site{t: t, lab: l, binary: binary, config: filepath.Join(l.Dir(), name+".yaml"), run: filepath.Join(l.Dir(), name+"-run")}
	check(t, os.Mkdir(s.run, 0o700))
	must(exec.Command("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", s.run).CombinedOutput())(t)
	if storage == onBtrfs {
		s.disk = must(l.Disk(ctx, name+"-disk", "btrfs", 3<<30))(t)
		s.volume = s.disk.Volume
	} else {
		s.disk = must(l.Disk(ctx, name+"-disk", "xfs", 4<<30))(t)
		s.volume = must(l.ImageOn(ctx, s.disk.Volume, name+"-inner", "ext4", 2<<30))(t)
		s.disk.Carry(s.volume)
	}
	s.state = filepath.Join(s.volume.Dir, "state")
	s.server = must(l.Server(ctx, build, lab.Spec{Name: name, Datadir: filepath.Join(s.volume.Dir, "data"), Subvolume: storage == onBtrfs, Options: options}))(t)
	text := fmt.Sprintf("instances:\n  shop:\n    option_file: %s\n    patience: 20s\n", s.server.OptionFile)
	check(t, os.WriteFile(s.config, []byte(text), 0o600))
	check(t, s.server.Start(ctx))
	// What is before the first cut is not to be lost by it: a fresh data directory is not synced by whoever copied it.
	must(exec.Command("sync", "--file-system", s.server.Datadir).CombinedOutput())(t)
	return s
}

// outcome is what a command left.
type outcome struct {
	stdout, stderr string
	code           int
}

func (s *site) command(environment []string, args ...string) *exec.Cmd {
	words := append([]string{s.binary, "--config", s.config}, args...)
	if s.boot != "" { // the machine has booted since: in a mount namespace of its own, so that nobody else sees it
		words = append([]string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`, s.boot}, words...)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "HOLDSTILL_STATE="+s.state, "HOLDSTILL_RUN="+s.run, "HOLDSTILL_FAULT=")
	cmd.Env = append(cmd.Env, environment...)
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

func (s *site) holdstill(args ...string) outcome {
	s.t.Helper()
	cmd := s.command(nil, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want fails the test unless the command ended with 0, and gives what it printed.
func (o outcome) want(t *testing.T, what string) []byte {
	t.Helper()
	if o.code != 0 {
		t.Fatalf("%s ended with %d\nstdout:\n%s\nstderr:\n%s", what, o.code, o.stdout, o.stderr)
	}
	return []byte(o.stdout)
}

func (s *site) points() map[string]*catalog.Point {
	s.t.Helper()
	var list []*catalog.Point
	check(s.t, json.Unmarshal(s.holdstill("--json", "points", "list").want(s.t, "points list"), &list))
	out := map[string]*catalog.Point{}
	for _, p := range list {
		out[p.ID] = p
	}
	return out
}

// cuts lists the snapshots on the storage with tools that are not ours.
func (s *site) cuts() []string {
	s.t.Helper()
	if s.volume != s.disk.Volume {
		return names(s.t, filepath.Join(s.disk.Dir, ".holdstill"))
	}
	var found []string
	out := must(exec.Command("btrfs", "subvolume", "list", s.volume.Dir).CombinedOutput())(s.t)
	for line := range strings.Lines(string(out)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), ".holdstill/"); ok {
			found = append(found, name)
		}
	}
	return found
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// reboot is what follows a cut: nothing runs any more, the disk comes back as it is, and the server is started. Every other time
// recover comes before the server, as a unit of the boot may.
func (s *site) reboot() {
	s.t.Helper()
	s.killAll()
	for _, name := range names(s.t, s.run) {
		check(s.t, os.Remove(filepath.Join(s.run, name)))
	}
	check(s.t, s.disk.Reopen(s.t.Context()))
	s.boot = filepath.Join(s.lab.Dir(), filepath.Base(s.run)+"-boot")
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	check(s.t, os.WriteFile(s.boot, fmt.Appendf(nil, "%x-%x-%x-%x-%x\n", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), 0o600))
	if s.boots++; s.boots%2 == 0 {
		s.holdstill("recover").want(s.t, "recover before the server is up")
	}
	check(s.t, s.server.Start(s.t.Context()))
}

// killAll kills the server and whatever of Holdstill runs here: the command, its guard, servers that it started.
func (s *site) killAll() {
	s.t.Helper()
	environs := must(filepath.Glob("/proc/[0-9]*/environ"))(s.t)
	for _, file := range environs {
		text, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(text), "\x00"), "HOLDSTILL_RUN="+s.run) {
			continue
		}
		var pid int
		must(fmt.Sscanf(file, "/proc/%d/", &pid))(s.t)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	check(s.t, s.server.Kill())
}

// restored starts a server from a point, and gives it and the rows that it has.
func (s *site) restored(id string) (*restore.Result, map[int64]bool) {
	s.t.Helper()
	dir := filepath.Join(s.volume.Dir, "restored")
	r := &restore.Result{}
	check(s.t, json.Unmarshal(s.holdstill("--json", "restore", id, "--datadir", dir, "--start").want(s.t, "restore"), r))
	check(s.t, s.lab.Adopt(r.PID))
	found := rows(s.t, r.Socket)
	process := must(os.FindProcess(r.PID))(s.t)
	check(s.t, process.Kill())
	for deadline := time.Now().Add(20 * time.Second); running(r.PID) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if exec.Command("btrfs", "subvolume", "delete", dir).Run() != nil {
		check(s.t, os.RemoveAll(dir))
	}
	check(s.t, os.RemoveAll(dir+".conf"))
	return r, found
}

// running is false for a zombie, unless it is a leader whose threads still hold the files.
func running(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && (len(tasks) > 1 || len(line) > 0)
}

func rows(t *testing.T, socket string) map[int64]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := must(sql.Open("mysql", "root@unix("+socket+")/"))(t)
	defer db.Close()
	found := must(db.QueryContext(ctx, "SELECT id FROM sampledb.sampletable"))(t)
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
