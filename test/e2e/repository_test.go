package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a host without a server: a name, a state, a configuration.
type machine struct {
	t                *testing.T
	name, state, run string
	config           string
	env              []string
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, name: name, state: filepath.Join(dir, "state"), run: filepath.Join(dir, "run"), config: filepath.Join(dir, "holdstill.yaml")}
	m.configure("")
	return m
}

func (m *machine) configure(text string) { check(m.t, os.WriteFile(m.config, []byte(text), 0o600)) }

func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, normal, append([]string{"--config", m.config}, args...)...)
	cmd.Env = append(os.Environ(), "HOLDSTILL_STATE="+m.state, "HOLDSTILL_RUN="+m.run, "HOLDSTILL_HOST="+m.name)
	cmd.Env = append(cmd.Env, m.env...)
	return cmd
}

func (m *machine) holdstill(args ...string) outcome {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := m.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// keys are those of the JSON document that a command prints.
func (o outcome) keys(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(o.stdout), &out); err != nil {
		t.Fatalf("%v in:\n%s\n%s", err, o.stdout, o.stderr)
	}
	return out
}

// fails wants the code, and a message and a hint that say these things; in JSON too.
func (m *machine) fails(code int, wants []string, args ...string) {
	m.t.Helper()
	o := m.holdstill(args...).want(m.t, code)
	contains(m.t, o.stderr, append(wants, "hint: ")...)
	if o.stdout != "" {
		m.t.Errorf("%v prints a result: %s", args, o.stdout)
	}
	told := m.holdstill(append([]string{"--json"}, args...)...).want(m.t, code).keys(m.t)["error"].(map[string]any)
	if told["code"] != float64(code) || told["hint"] == "" {
		m.t.Errorf("%v tells %v", args, told)
	}
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

const repositoryPassword = "Tr0ub4dor-and-4"

func TestRepositoryCommands(t *testing.T) {
	a, b := newMachine(t, "a"), newMachine(t, "b")
	password := secretFile(t, repositoryPassword+"\n")
	at := filepath.Join(t.TempDir(), "deep", "store")
	flags := func(url string) []string { return []string{"--url", url, "--password-file", password} }

	a.fails(4, []string{"has no repository", "repository init"}, "repository", "status")
	a.holdstill("repository", "init").want(t, 2)
	a.fails(4, []string{"there is no repository", "mounted"}, append([]string{"repository", "connect"}, flags(at)...)...)
	o := a.holdstill(append([]string{"repository", "init"}, flags(at)...)...).want(t, 0)
	contains(t, o.stdout, at, "BLAKE3", "AES256", "can ever be read again")
	status := a.holdstill("repository", "status", "--json").want(t, 0).keys(t)
	for _, key := range []string{"id", "location", "format", "points", "hosts", "bytes", "blobs", "free", "capacity", "sources", "warnings"} {
		if _, there := status[key]; !there {
			t.Errorf("status has no %q: %v", key, status)
		}
	}
	id := status["id"].(string)
	contains(t, a.holdstill("repository", "status").want(t, 0).stdout, id, at)
	a.fails(2, []string{"connected to the repository " + id}, append([]string{"repository", "init"}, flags(at)...)...)
	b.fails(2, []string{"there is a repository already", "repository connect"}, append([]string{"repository", "init"}, flags(at)...)...)

	connected := b.holdstill(append([]string{"--json", "repository", "connect"}, flags(at)...)...).want(t, 0).keys(t)
	if connected["id"] != id || connected["imported"] != float64(0) {
		t.Errorf("connected: %v", connected)
	}
	health := b.holdstill("repository", "check", "--json").want(t, 0).keys(t)
	for _, key := range []string{"points", "files", "bytes", "damages"} {
		if _, there := health[key]; !there {
			t.Errorf("check has no %q: %v", key, health)
		}
	}
	if done := a.holdstill("repository", "maintain", "--json").want(t, 0).keys(t); done["ran"] != true {
		t.Errorf("maintain: %v", done)
	}
	if done := b.holdstill("repository", "maintain", "--json").want(t, 0).keys(t); done["ran"] != false || !strings.Contains(done["reason"].(string), "a") {
		t.Errorf("maintain elsewhere: %v", done)
	}
	a.fails(4, []string{"does not hold the point"}, "repository", "check", "20260101-000000")
	for _, bad := range []string{"-1", "101", "NaN", "all"} {
		a.holdstill("repository", "check", "--read", bad).want(t, 2)
	}
	contains(t, a.holdstill("repository", "connect", "--url", at, "--password-file", "/nowhere/at/all").want(t, 2).stderr, "password_file: ", "no such file")
}

// TestRepositoryRefusals: what is given by mistake changes nothing.
func TestRepositoryRefusals(t *testing.T) {
	m := newMachine(t, "a")
	password := secretFile(t, repositoryPassword)
	at, foreign := filepath.Join(t.TempDir(), "store"), t.TempDir()
	check(t, os.WriteFile(filepath.Join(foreign, "letters"), []byte("dear"), 0o600))
	flags := func(url, password string) []string { return []string{"--url", url, "--password-file", password} }
	m.holdstill(append([]string{"repository", "init"}, flags(at, password)...)...).want(t, 0)
	known := must(os.ReadFile(filepath.Join(m.state, "repository", "location.json")))(t)

	m.fails(1, []string{"password", "there is no way around it"}, append([]string{"repository", "connect"}, flags(at, secretFile(t, "another"))...)...)
	m.fails(2, []string{"something else", "letters"}, append([]string{"repository", "init", "--replace"}, flags(foreign, password)...)...)
	m.fails(2, []string{"it is no directory"}, append([]string{"repository", "init", "--replace"}, flags(filepath.Join(foreign, "letters"), password)...)...)
	m.fails(2, []string{"it is no directory"}, append([]string{"repository", "connect"}, flags(filepath.Join(foreign, "letters"), password)...)...)
	m.fails(4, []string{"there is no repository"}, append([]string{"repository", "connect"}, flags(foreign, password)...)...)
	for _, args := range [][]string{{"--url", "backups"}, {"--url", "s3://key:word@bucket"}, {"--region", "eu"}, {"--url", at, "--upload-limit", "fast"},
		{"--url", at, "--password-file", password, "--password-command", "true"}} {
		m.holdstill(append([]string{"repository", "connect"}, args...)...).want(t, 2)
	}
	if got := names(t, foreign); !slices.Equal(got, []string{"letters"}) {
		t.Errorf("the foreign directory holds %v", got)
	}
	if now := must(os.ReadFile(filepath.Join(m.state, "repository", "location.json")))(t); !bytes.Equal(now, known) {
		t.Errorf("the machine knows %s, not %s", now, known)
	}
	m.holdstill("repository", "status").want(t, 0)

	// gone, as a file system that is not mounted, and back
	check(t, os.Rename(at, at+".away"))
	m.fails(4, []string{"there is no such directory", "mounted"}, "repository", "status")
	check(t, os.Mkdir(at, 0o700))
	m.fails(4, []string{"there is no repository", "mounted"}, "repository", "status")
	m.fails(2, []string{"this machine is connected to"}, "repository", "init")
	check(t, os.Remove(at))
	check(t, os.Rename(at+".away", at))
	m.holdstill("repository", "status").want(t, 0)

	// somebody else's in its place
	other := newMachine(t, "b")
	check(t, os.Rename(at, at+".away"))
	second := other.holdstill(append([]string{"--json", "repository", "init"}, flags(at, password)...)...).want(t, 0).keys(t)["id"]
	m.fails(1, []string{"another repository", fmt.Sprint(second), "holdstill repository connect"}, "repository", "status")
	if now := m.holdstill("--json", "repository", "connect").want(t, 0).keys(t); now["id"] != second || now["before"] == nil {
		t.Errorf("connected to %v", now)
	}
	m.holdstill("repository", "status").want(t, 0)
}

// TestRepositorySection: with a section no flags are needed, and those that say something else are refused.
func TestRepositorySection(t *testing.T) {
	m := newMachine(t, "a")
	at := filepath.Join(t.TempDir(), "store")
	m.configure(fmt.Sprintf("repository:\n  url: %s\n  password_file: %s\n  upload_limit: 50MiB\n", at, secretFile(t, repositoryPassword)))
	m.fails(2, []string{"--region, --url: the section repository"}, "repository", "init", "--url", at+"2", "--region", "eu")
	m.holdstill("repository", "init", "--url", at, "--upload-limit", "50MiB").want(t, 0)
	m.holdstill("repository", "status").want(t, 0)
	m.holdstill("repository", "connect").want(t, 0)
	if _, err := os.Stat(filepath.Join(m.state, "repository", "location.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the place is remembered beside the section: %v", err)
	}
	m.configure("repository:\n  url: " + at + "\n")
	m.fails(2, []string{"nobody is at a terminal", "password_file"}, "repository", "status")
	m.configure("repository:\n  url: " + at + "\n  password_file: " + m.config + "x\n  region: eu\n")
	o := m.holdstill("repository", "status").want(t, 2)
	contains(t, o.stderr, "line 3: repository:", "line 4: repository:")
}

// TestRepositoryInitKilled kills init at moments all over its run; the next one, or connect, ends what it began.
func TestRepositoryInitKilled(t *testing.T) {
	const kills = 8
	password := secretFile(t, repositoryPassword)
	begun := time.Now()
	flags := func(dir string) []string { return []string{"--url", dir, "--password-file", password} }
	newMachine(t, "a").holdstill(append([]string{"repository", "init"}, flags(filepath.Join(t.TempDir(), "store"))...)...).want(t, 0)
	whole := time.Since(begun)
	ends := map[string]int{}
	for i := range kills {
		m, at := newMachine(t, "a"), filepath.Join(t.TempDir(), "store")
		cmd := m.command(t.Context(), append([]string{"repository", "init"}, flags(at)...)...)
		check(t, cmd.Start())
		time.Sleep(whole * time.Duration(i+1) / (kills + 1))
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		again := m.holdstill(append([]string{"repository", "init"}, flags(at)...)...)
		switch again.code {
		case 0:
			ends["made again"]++
		case 2:
			contains(t, again.stderr, "repository connect")
			m.holdstill(append([]string{"repository", "connect"}, flags(at)...)...).want(t, 0)
			ends["connected"]++
		default:
			again.want(t, 0)
		}
		m.holdstill("repository", "status").want(t, 0)
		if o := m.holdstill("--json", "repository", "maintain").want(t, 0); o.keys(t)["ran"] != true {
			t.Errorf("after kill %d of %d maintain says %s", i+1, kills, o.stdout)
		}
	}
	t.Logf("%d kills within %s: %v", kills, whole.Round(time.Millisecond), ends)
}

// TestRepositoryPassword takes it from everywhere, and looks for it everywhere meanwhile and afterwards.
func TestRepositoryPassword(t *testing.T) {
	at := filepath.Join(t.TempDir(), "store")
	file := secretFile(t, repositoryPassword+"\n")
	m := newMachine(t, "a")
	m.spied([]string{repositoryPassword}, "-v", "repository", "init", "--url", at, "--password-file", file).want(t, 0)
	for _, way := range [][]string{{"--password-file", file}, {"--password-command", "cat " + file}, {"--password-credential", filepath.Base(file)}} {
		m.env = []string{"CREDENTIALS_DIRECTORY=" + filepath.Dir(file)}
		m.spied([]string{repositoryPassword}, append([]string{"-v", "repository", "connect", "--url", at}, way...)...).want(t, 0)
		m.spied([]string{repositoryPassword}, "-v", "repository", "maintain").want(t, 0)
		m.holdsNo(repositoryPassword)
	}
	m.env = nil
	m.fails(2, []string{"LoadCredential"}, "repository", "status")
	m.fails(2, []string{"the vault is sealed"}, "repository", "connect", "--url", at, "--password-command", "echo the vault is sealed >&2; false")
	check(t, os.Chmod(file, 0o644))
	o := m.holdstill("repository", "connect", "--url", at, "--password-file", file).want(t, 2)
	contains(t, o.stderr, "chmod go-rwx")
}

// spied runs a command and reads, as long as it runs, all that anybody can read of all processes.
func (m *machine) spied(secrets []string, args ...string) outcome {
	m.t.Helper()
	cmd := m.command(m.t.Context(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	check(m.t, cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	for looking := true; looking; {
		select {
		case <-done:
			looking = false
		case <-time.After(10 * time.Millisecond): // the run shall get on meanwhile
		}
		for _, what := range []string{"cmdline", "environ"} {
			for _, f := range must(filepath.Glob("/proc/[0-9]*/" + what))(m.t) {
				text, _ := os.ReadFile(f) // nothing of a process that is gone
				if what == "environ" && !bytes.Contains(text, []byte(m.state)) {
					continue // neither ours nor our child's: a store of the tests has its key there
				}
				if i := slices.IndexFunc(secrets, func(s string) bool { return bytes.Contains(text, []byte(s)) }); i >= 0 {
					m.t.Errorf("%v: a secret is in %s", args, f)
				}
			}
		}
	}
	for _, s := range secrets {
		if strings.Contains(stdout.String()+stderr.String(), s) {
			m.t.Errorf("%v prints a secret:\n%s%s", args, stdout.String(), stderr.String())
		}
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// holdsNo looks for secrets in all that the machine wrote.
func (m *machine) holdsNo(secrets ...string) {
	m.t.Helper()
	for _, dir := range []string{m.state, m.run} {
		check(m.t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text := must(os.ReadFile(path))(m.t)
			for _, s := range secrets {
				if bytes.Contains(text, []byte(s)) {
					m.t.Errorf("a secret is in %s", path)
				}
			}
			return nil
		}))
	}
}
