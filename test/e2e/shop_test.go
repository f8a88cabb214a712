// Package e2e tests the program as people run it: the binary, real servers, real file systems, real replication, with
// writes going on.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// The binaries under test: as released, and with fault injection.
var normal, faulty string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "holdstill-e2e-bin-")
	if err != nil {
		panic(err)
	}
	normal, faulty = filepath.Join(dir, "holdstill"), filepath.Join(dir, "holdstill-fault")
	for out, tags := range map[string]string{normal: "", faulty: "fault"} {
		build := exec.Command("go", "build", "-tags", tags, "-o", out, "../../cmd/holdstill")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "cannot build holdstill: %v\n%s", err, text)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// Two ways to store a data directory, one for each snapshot provider.
const (
	onBtrfs = "btrfs"
	onImage = "image"
)

// shop is one server under Holdstill's care, with state and run directories of its own.
type shop struct {
	t      *testing.T
	lab    *lab.Lab
	server *lab.Server
	volume *lab.Volume // that holds the data directory
	outer  *lab.Volume // that holds the volume's image; nil on btrfs
	config string
	state  string
	run    string
	host   string   // what the machine is called; "": as it is
	home   []string // flags that name the machine that the shop belongs to
}

// open makes a server on storage of the given kind and starts it.
func open(t *testing.T, build lab.Build, storage string) *shop {
	t.Helper()
	l := labtest.New(t)
	s := openIn(t, l, build, storage, "shop", lab.Spec{})
	return s
}

func openIn(t *testing.T, l *lab.Lab, build lab.Build, storage, name string, spec lab.Spec) *shop {
	t.Helper()
	ctx := t.Context()
	s := &shop{t: t, lab: l, state: filepath.Join(l.Dir(), name+"-state"), config: filepath.Join(l.Dir(), name+".yaml")}
	// Evidence of freezes must not lie on a frozen volume: a tmpfs, as /run is.
	s.run = must(os.MkdirTemp("/run", "holdstill-e2e-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(s.run) })
	switch storage {
	case onBtrfs:
		s.volume = must(l.Btrfs(ctx, name+"-disk", 2<<30))(t)
		spec.Subvolume = true
	case onImage:
		s.outer = must(l.FS(ctx, name+"-host", "xfs", 3<<30))(t)
		s.volume = must(l.ImageOn(ctx, s.outer, name+"-disk", "ext4", 2<<30))(t)
	}
	spec.Name = name
	if s.volume != nil {
		spec.Datadir = filepath.Join(s.volume.Dir, "data")
	}
	s.server = must(l.Server(ctx, build, spec))(t)
	check(t, s.server.Start(ctx))
	s.configure("")
	return s
}

// configure writes the configuration; extra lines belong to the instance.
func (s *shop) configure(extra string) {
	s.t.Helper()
	text := fmt.Sprintf("instances:\n  shop:\n    option_file: %s\n    patience: 10s\n    service:\n      start: %q\n      stop: %q\n      timeout: 90s\n%s",
		s.server.OptionFile, s.server.StartCommand(), s.server.StopCommand(), extra)
	check(s.t, os.WriteFile(s.config, []byte(text), 0o600))
}

// outcome is what a command left.
type outcome struct {
	stdout, stderr string
	code           int
}

func (s *shop) command(ctx context.Context, binary, fault string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, append([]string{"--config", s.config}, args...)...)
	cmd.Env = append(os.Environ(), "HOLDSTILL_STATE="+s.state, "HOLDSTILL_RUN="+s.run, "HOLDSTILL_FAULT="+fault)
	if s.host != "" {
		cmd.Env = append(cmd.Env, "HOLDSTILL_HOST="+s.host)
	}
	return cmd
}

func (s *shop) holdstill(args ...string) outcome { return s.withFault("", args...) }

// meanwhile runs a command, and does something to the world when it is at a boundary. What do returns is done after the command.
func (s *shop) meanwhile(boundary string, do func() func(), args ...string) outcome {
	s.t.Helper()
	gate, trace := filepath.Join(s.run, "gate"), filepath.Join(s.run, "trace")
	check(s.t, os.WriteFile(gate, nil, 0o600))
	defer os.Remove(trace)
	cmd := s.command(s.t.Context(), faulty, boundary+":pause", args...)
	cmd.Env = append(cmd.Env, "HOLDSTILL_FAULT_TRACE="+trace, "HOLDSTILL_FAULT_GATE="+gate)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	check(s.t, cmd.Start())
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(trace); strings.Contains(string(text), boundary+"\n") {
			break
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			s.t.Fatalf("%s is never reached:\n%s", boundary, stderr.String())
		}
	}
	after := do()
	check(s.t, os.Remove(gate))
	_ = cmd.Wait()
	after()
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (s *shop) withFault(fault string, args ...string) outcome {
	s.t.Helper()
	binary := normal
	if fault != "" {
		binary = faulty
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := s.command(ctx, binary, fault, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// want fails the test unless the command ended with the code.
func (o outcome) want(t *testing.T, code int) outcome {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", o.code, code, o.stdout, o.stderr)
	}
	return o
}

func (o outcome) point(t *testing.T) *catalog.Point {
	t.Helper()
	p := &catalog.Point{}
	if err := json.Unmarshal([]byte(o.stdout), p); err != nil {
		t.Fatalf("no point in the output: %v\n%s", err, o.stdout)
	}
	return p
}

func (s *shop) backup(args ...string) *catalog.Point {
	s.t.Helper()
	return s.holdstill(append([]string{"--json", "backup"}, args...)...).want(s.t, 0).point(s.t)
}

func (s *shop) value(query string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	return must(s.server.Value(ctx, query))(s.t)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}
