package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// running is one holdstill under way. What it prints goes to files on a tmpfs: a pipe would be held by its guard as well.
type running struct {
	cmd     *exec.Cmd
	dir     string
	started time.Time
	ended   chan struct{}
	code    int // -1: it was killed; -2: by us, as it did not end
	fault   string
	kept    string                    // where the evidence of a run is that did not end
	keep    func(limit time.Duration) // writes it down
}

// start starts holdstill with a fault (BOUNDARY:KIND, or "").
func (w *world) start(fault string, args ...string) (*running, error) {
	return w.launch(fault, w.program, append([]string{"--config", w.config}, args...)...)
}

func (w *world) launch(fault, program string, args ...string) (*running, error) {
	dir, err := os.MkdirTemp(w.tmp, "said-")
	if err != nil {
		return nil, err
	}
	r := &running{dir: dir, ended: make(chan struct{}), started: time.Now(), fault: fault}
	r.keep = func(limit time.Duration) { w.keepEvidence(r, limit) }
	out, errOut := os.Create(r.file("stdout"))
	log, errLog := os.Create(r.file("stderr"))
	if err := errors.Join(errOut, errLog, os.WriteFile(r.file("gate"), nil, 0o600)); err != nil {
		return nil, err
	}
	defer out.Close()
	defer log.Close()
	r.cmd = exec.Command(program, args...)
	r.cmd.Stdout, r.cmd.Stderr = out, log
	r.cmd.Env = append(os.Environ(), "HOLDSTILL_STATE="+w.state, "HOLDSTILL_RUN="+w.runDir,
		"HOLDSTILL_FAULT="+fault, "HOLDSTILL_FAULT_TRACE="+r.file("trace"), "HOLDSTILL_FAULT_GATE="+r.file("gate"))
	// A ^C is for the campaign, and nobody outlives it: the lab takes back what a killed run leaves.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.ended)
		_ = r.cmd.Wait() // the code says it
		r.code = r.cmd.ProcessState.ExitCode()
	}()
	return r, nil
}

func (r *running) file(name string) string { return filepath.Join(r.dir, name) }

func (r *running) read(name string) string {
	text, _ := os.ReadFile(r.file(name))
	return string(text)
}

func (r *running) said() string {
	said := r.read("stdout") + r.read("stderr")
	if r.kept != "" {
		said += "\nit did not end in time; what it and the servers were at is in " + r.kept
	}
	return said
}

// open lets a run that pauses go on.
func (r *running) open() { _ = os.Remove(r.file("gate")) }

func (r *running) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// boundaries are those passed so far, in their order; one that is passed again has the number of the passage behind it.
func (r *running) boundaries() []string {
	var out []string
	times := map[string]int{}
	for _, b := range strings.Fields(r.read("trace")) {
		if times[b]++; times[b] > 1 {
			b = fmt.Sprintf("%s:%d", b, times[b])
		}
		out = append(out, b)
	}
	return out
}

// reaches waits until the run is at the nth passage of the boundary; false if it ended before.
func (r *running) reaches(boundary string, nth int, limit time.Duration) bool {
	passages := func() (n int) {
		for _, b := range strings.Fields(r.read("trace")) {
			if b == boundary {
				n++
			}
		}
		return n
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ended := !r.alive(); passages() >= nth || ended {
			return passages() >= nth
		}
	}
	return false
}

// wait waits for the end. A run that does not end is killed, its evidence is kept, and its code is then -2.
func (r *running) wait(limit time.Duration) int {
	select {
	case <-r.ended:
	case <-time.After(limit):
		r.keep(limit)
		_ = r.cmd.Process.Kill()
		<-r.ended
		r.code = -2
	}
	return r.code
}

func (r *running) signal(s syscall.Signal) { _ = r.cmd.Process.Signal(s) }

// guard is the process id of the run's freeze guard, 0 if there is none.
func (r *running) guard() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if parent(f) == r.cmd.Process.Pid && strings.Contains(string(line), "guard-process") {
			return pid
		}
	}
	return 0
}

// parent reads the fourth field of a /proc/PID/stat; the second is a name in parentheses that may hold anything.
func parent(stat string) int {
	text, _ := os.ReadFile(stat)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[1])
	return pid
}

// run runs holdstill to its end.
func (w *world) holdstill(limit time.Duration, args ...string) (*running, error) {
	r, err := w.start("", args...)
	if err != nil {
		return nil, err
	}
	r.wait(limit)
	return r, nil
}

// recorded lists the points of the catalogue, as the program tells them.
func (w *world) recorded() ([]*catalog.Point, error) {
	r, err := w.holdstill(30*time.Second, "--json", "points", "list")
	if err != nil {
		return nil, err
	}
	var points []*catalog.Point
	if err := json.Unmarshal([]byte(r.read("stdout")), &points); err != nil {
		return nil, fmt.Errorf("points list ended with %d: %w\n%s", r.code, err, r.said())
	}
	return points, nil
}

func (w *world) forgetPoints() error {
	points, err := w.recorded()
	if err != nil {
		return err
	}
	for _, p := range points {
		r, err := w.holdstill(time.Minute, "points", "rm", p.ID)
		if err != nil || r.code != 0 {
			return fmt.Errorf("points rm %s ended with %d: %w\n%s", p.ID, r.code, err, r.said())
		}
	}
	return nil
}
