package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/restore"
)

// The peers' names are part of the names in the JSON.
const (
	resticName = "restic"
	kopiaName  = "kopia program"
	tarName    = "tar | zstd -1 -T2"
)

// spent is what a program took.
type spent struct {
	seconds float64
	whole   float64 // with the first boot of the copy, which only holdstill does; else 0
	cpu     float64 // seconds, of all its threads and children
	peak    float64 // MB of memory, of its largest process
	read    float64 // MB that it made the disks read
	claimed float64 // MB of files that it says it read, which only holdstill does
}

// timed runs a program, from its start to its end.
//
// It gets a session of its own: the kernel shares the processors among sessions first (autogroup), so that holdstill, which makes itself nice, is
// not behind others that run meanwhile, any more than a peer is.
func timed(ctx context.Context, cmd *exec.Cmd) (spent, []byte, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it may be a shell with children
	if err := shrink(); err != nil {
		return spent{}, nil, err
	}
	began := time.Now()
	out, err := output(cmd)
	took := time.Since(began)
	if err != nil {
		return spent{}, out, err
	}
	s := spent{seconds: took.Seconds(), cpu: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.peak, s.read = float64(usage.Maxrss)*1024/1e6, float64(usage.Inblock)*512/1e6
	}
	return s, out, ctx.Err()
}

// ourStore is `holdstill points ship`, and of `holdstill restore` the stage that places the files.
func (g *ground) ourStore() archiver {
	dir, password := g.storeOf("holdstill"), filepath.Join(g.lab.Dir(), "repository.password")
	last := cut{}
	return archiver{
		name: "holdstill", dir: dir, again: true,
		fresh: func(ctx context.Context) error {
			if err := os.WriteFile(password, []byte("benchmark\n"), 0o600); err != nil {
				return err
			}
			if err := g.configure(fmt.Sprintf("repository: {url: %s, password_file: %s}", dir, password)); err != nil {
				return err
			}
			_, err := g.holdstill(ctx, "repository", "init", "--replace")
			return err
		},
		ship: func(ctx context.Context, c cut) (spent, error) {
			last = c
			s, out, err := timed(ctx, g.command(ctx, "--json", "points", "ship", c.point))
			if err == nil {
				s.claimed, err = shipped(out)
			}
			return s, err
		},
		fetch: func(ctx context.Context, to string) (spent, error) {
			etc := to + ".conf"
			defer os.RemoveAll(etc)
			s, out, err := timed(ctx, g.command(ctx, "--json", "restore", last.point, "--from", "repository", "--datadir", to, "--config-dir", etc))
			if err != nil {
				return s, err
			}
			return s.placing(out)
		},
	}
}

// shrink makes this program small: the kernel counts what its maker held as the peak of a program that begins.
func shrink() error {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5\n"), 0) // proc(5): the high-water mark begins anew
}

// shipped is what holdstill says that it read.
func shipped(out []byte) (float64, error) {
	var p catalog.Point
	if err := json.Unmarshal(out, &p); err != nil {
		return 0, err
	}
	if p.Repository == nil {
		return 0, fmt.Errorf("the point %s is not in the repository", p.ID)
	}
	return float64(p.Repository.ReadBytes) / 1e6, nil
}

// placing is the time until the files were there: the program goes on and boots them, which no peer does.
func (s spent) placing(out []byte) (spent, error) {
	var result restore.Result
	if err := json.Unmarshal(out, &result); err != nil {
		return s, err
	}
	s.whole = s.seconds
	for _, stage := range result.Times {
		if stage.Name != "place" {
			s.seconds -= stage.MS / 1000 // what is before the first stage counts: the store is opened there
		}
	}
	return s, nil
}

func (g *ground) storeOf(name string) string { return filepath.Join(g.lab.Dir(), "stores", name) }

// within runs words with a snapshot at a path that is always the same, by which the peers recognise what they stored before. The mount is
// in a namespace of its own and ends with the program.
func (g *ground) within(ctx context.Context, c cut, env []string, words ...string) (spent, []byte, error) {
	at := g.at()
	if err := os.MkdirAll(at, 0o755); err != nil {
		return spent{}, nil, err
	}
	script := fmt.Sprintf("mount --bind %s %s && exec %s", c.path, at, strings.Join(words, " ")) // the lab's paths need no quoting
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	return timed(ctx, cmd)
}

func (g *ground) at() string { return filepath.Join(g.lab.Dir(), "at") }

// restic is as Debian has it, with the compression that it calls auto.
func (g *ground) restic() archiver {
	dir := g.storeOf("restic")
	env := []string{"RESTIC_PASSWORD=benchmark", "RESTIC_REPOSITORY=" + dir, "RESTIC_CACHE_DIR=" + dir + ".cache"}
	run := func(ctx context.Context, words ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "restic", words...)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	return archiver{
		name: resticName, dir: dir, again: true,
		fresh: func(ctx context.Context) error {
			if err := os.RemoveAll(dir + ".cache"); err != nil {
				return err
			}
			_, err := output(run(ctx, "init", "--repository-version", "2"))
			return err
		},
		ship: func(ctx context.Context, c cut) (spent, error) {
			s, _, err := g.within(ctx, c, env, "restic", "backup", "--quiet", "--compression", "auto", g.at())
			return s, err
		},
		fetch: func(ctx context.Context, to string) (spent, error) {
			s, _, err := timed(ctx, run(ctx, "restore", "--quiet", "latest", "--target", to))
			return s, err
		},
	}
}

func (g *ground) kopiaProgram() string { return filepath.Join(g.peers, "kopia-0.23.1", "kopia") }

// kopia is the stock program, with its defaults and its fastest zstd.
func (g *ground) kopia() archiver {
	dir := g.storeOf("kopia")
	cache := dir + ".cache"
	env := []string{"KOPIA_PASSWORD=benchmark", "KOPIA_CONFIG_PATH=" + filepath.Join(cache, "config"), "KOPIA_LOG_DIR=" + filepath.Join(cache, "log"), "KOPIA_CHECK_FOR_UPDATES=false"}
	run := func(ctx context.Context, words ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, g.kopiaProgram(), words...)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	var last struct{ ID string }
	return archiver{
		name: kopiaName, dir: dir, again: true,
		fresh: func(ctx context.Context) error {
			if err := os.RemoveAll(cache); err != nil {
				return err
			}
			if _, err := output(run(ctx, "repository", "create", "filesystem", "--path", dir, "--cache-directory", filepath.Join(cache, "cache"))); err != nil {
				return err
			}
			_, err := output(run(ctx, "policy", "set", "--global", "--compression=zstd-fastest"))
			return err
		},
		ship: func(ctx context.Context, c cut) (spent, error) {
			s, out, err := g.within(ctx, c, env, g.kopiaProgram(), "snapshot", "create", "--no-progress", "--json", g.at())
			if err == nil {
				err = json.Unmarshal(out, &last)
			}
			return s, err
		},
		fetch: func(ctx context.Context, to string) (spent, error) {
			s, _, err := timed(ctx, run(ctx, "restore", "--no-progress", last.ID, to))
			return s, err
		},
	}
}

// tar is no archiver of points: without encryption, shares and checks it is the yardstick for speed.
func (g *ground) tar() archiver {
	dir := g.storeOf("tar")
	archive := filepath.Join(dir, "data.tar.zst")
	pipe := func(ctx context.Context, script string) (spent, error) {
		s, _, err := timed(ctx, exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", script))
		return s, err
	}
	return archiver{
		name: tarName, dir: dir,
		fresh: func(context.Context) error { return os.MkdirAll(dir, 0o755) },
		ship: func(ctx context.Context, c cut) (spent, error) {
			return pipe(ctx, fmt.Sprintf("tar -C %s -cf - . | zstd -q -1 -T2 -o %s", c.path, archive))
		},
		fetch: func(ctx context.Context, to string) (spent, error) {
			return pipe(ctx, fmt.Sprintf("mkdir %s && zstd -q -dc %s | tar -C %s -xf -", to, archive, to))
		},
	}
}
