package hookfiles

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/lock"
)

// everywhere tries every host on a machine without anything, and on one where people have everything already.
func everywhere(t *testing.T, do func(t *testing.T, p hook.Personality, items map[string]item)) {
	for name, items := range map[string]map[string]item{"empty": empty, "lived in": livedIn} {
		for _, p := range makes() {
			t.Run(p.Name()+" "+name, func(t *testing.T) { do(t, p, items) })
		}
	}
}

func TestInstallAndUninstall(t *testing.T) {
	everywhere(t, func(t *testing.T, p hook.Personality, items map[string]item) {
		w := newWorld(t, items)
		before := w.picture()
		planned, err := w.installer().Install(p, program, true)
		if err != nil {
			t.Fatal(err)
		}
		w.is(before, "after a dry run")
		if _, err := os.Stat(filepath.Join(w.state, "hooks")); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a dry run keeps something", err)
		}
		done := w.install(p)
		if !slices.Equal(planned, done) {
			t.Errorf("planned %v, done %v", planned, done)
		}
		for _, c := range done {
			now, content, err := look(filepath.Join(w.root, c.Path))
			if err != nil || now.Mode != c.Mode || now.UID != os.Geteuid() || now.Kind == isFile && string(content) != c.Content {
				t.Errorf("%+v is %+v %v", c, now, err)
			}
		}
		installed := w.picture()
		for _, c := range w.install(p) {
			if c.Action != None {
				t.Errorf("the second time: %s %s", c.Action, c.Path)
			}
		}
		w.is(installed, "after the second install")
		if _, err := w.installer().Uninstall(p.Name(), false, true); err != nil {
			t.Fatal(err)
		}
		w.is(installed, "after a dry uninstall")
		w.uninstall(p)
		w.is(before, "after the uninstall")
		w.nothingKept("after the uninstall")
		if again := w.uninstall(p); len(again) > 0 {
			t.Errorf("the second time: %v", again)
		}
	})
}

func TestCheck(t *testing.T) {
	everywhere(t, func(t *testing.T, p hook.Personality, items map[string]item) {
		w := newWorld(t, items)
		here := Program{Binary: "/bin/sh"}
		if faults, err := w.installer().Check(p, here); err != nil || len(faults) == 0 {
			t.Errorf("nothing is installed, and nothing wrong: %v", err)
		}
		i := w.installer()
		changes, err := i.Install(p, here, false)
		if err != nil {
			t.Fatal(err)
		}
		if faults, err := i.Check(p, here); err != nil || len(faults) > 0 {
			t.Errorf("%v %v", faults, err)
		}
		for _, c := range changes {
			if c.Content == "" {
				continue
			}
			at := filepath.Join(w.root, c.Path)
			for what, spoil := range map[string]func() error{
				"mode":    func() error { return os.Chmod(at, 0o666) },
				"content": func() error { return os.WriteFile(at, []byte("{"), 0o600) },
				"absence": func() error { return os.Remove(at) },
				"parent":  func() error { return os.Chmod(filepath.Dir(at), 0o777) },
			} {
				kept, _ := look2(t, at)
				info, err := os.Stat(filepath.Dir(at))
				if err != nil {
					t.Fatal(err)
				}
				if err := spoil(); err != nil {
					t.Fatal(err)
				}
				faults, err := i.Check(p, here)
				if err != nil || !slices.ContainsFunc(faults, func(f Fault) bool {
					return (f.Path == c.Path || f.Path == filepath.Dir(c.Path)) && f.What != "" && f.Remedy != ""
				}) {
					t.Errorf("%s: a wrong %s is not told: %v %v", c.Path, what, faults, err)
				}
				if err := errors.Join(os.Chmod(filepath.Dir(at), info.Mode()), os.WriteFile(at, kept.content, 0o600), chmod(at, kept.mode)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if faults, err := i.Check(p, Program{Binary: "/no/such/program"}); err != nil || len(faults) == 0 {
			t.Error("a program that is not there is no fault", err)
		}
	})
}

type saved struct {
	content []byte
	mode    fs.FileMode
}

func look2(t *testing.T, at string) (saved, thing) {
	now, content, err := look(at)
	if err != nil {
		t.Fatal(err)
	}
	bits, _ := strconv.ParseUint(now.Mode, 8, 32)
	return saved{content, fs.FileMode(bits)}, now
}

// An editor of a shared file who leaves what is needed breaks nothing; an install and an uninstall leave his work alone.
func TestChangedSince(t *testing.T) {
	gcp := makes()[2]
	const path = "/etc/default/instance_configs.cfg"
	w := newWorld(t, map[string]item{"/etc/default/": {mode: 0o755}, path: {"[Core]\n", 0o600}})
	before := w.picture()
	w.install(gcp)
	w.append(path, "\n[Mine]\nx = 1\n")
	changed := w.picture()
	if faults, err := w.installer().Check(gcp, Program{Binary: "/bin/sh"}); err != nil || slices.ContainsFunc(faults, func(f Fault) bool { return f.Path == path }) {
		t.Errorf("%v %v", faults, err)
	}
	_, err := w.installer().Install(gcp, program, false)
	var refused *ChangedError
	if !errors.As(err, &refused) || !slices.Equal(refused.Paths, []string{path}) || refused.Hint() == "" {
		t.Fatal(err)
	}
	w.is(changed, "after an install that was refused")

	changes := w.uninstall(gcp)
	kept := slices.IndexFunc(changes, func(c Change) bool { return c.Action == Keep })
	if kept < 0 || changes[kept].Path != path {
		t.Fatal(changes)
	}
	if got := w.picture(); got[path] != changed[path] || len(got) != len(before) {
		t.Error(got)
	}
	_, original, found := strings.Cut(changes[kept].Why, "is kept in ")
	if content, err := os.ReadFile(original); !found || err != nil || string(content) != "[Core]\n" {
		t.Errorf("%s: %q %v", changes[kept].Why, content, err)
	}

	w.install(gcp) // merges with the work of the other
	if got := w.read(path); !strings.Contains(got, "[Mine]") || !strings.Contains(got, "enabled = true") {
		t.Error(got)
	}
	w.append(path, "more\n")
	if changes, err := w.installer().Uninstall("gcp", true, false); err != nil || slices.ContainsFunc(changes, func(c Change) bool { return c.Action == Keep }) {
		t.Error(changes, err)
	}
	if got := w.picture(); got[path] != strings.Replace(changed[path], "x", "x", 1) || len(got) != len(before) {
		t.Error(got)
	}
}

// A forced uninstall removes even what replaced a file of ours, and what somebody has removed is no reason to stop.
func TestForceAndAbsence(t *testing.T) {
	for _, p := range makes() {
		w := newWorld(t, livedIn)
		before := w.picture()
		for n, c := range w.install(p) {
			if c.Content != "" && n%2 == 0 {
				w.append(c.Path, "# changed\n")
			} else if c.Content != "" {
				_ = os.Remove(filepath.Join(w.root, c.Path))
			}
		}
		if _, err := w.installer().Uninstall(p.Name(), true, false); err != nil {
			t.Fatal(err)
		}
		w.is(before, p.Name()+" after force")
		w.nothingKept(p.Name() + " after force")
	}
}

func TestUpgrade(t *testing.T) {
	everywhere(t, func(t *testing.T, p hook.Personality, items map[string]item) {
		w := newWorld(t, items)
		before := w.picture()
		w.install(p)
		changes, err := w.installer().Install(p, Program{Binary: "/opt/holdstill", Config: "/opt/h.yaml"}, false)
		if err != nil || !slices.ContainsFunc(changes, func(c Change) bool {
			return c.Action == Update && strings.Contains(c.Content, "/opt/holdstill --config /opt/h.yaml hook")
		}) {
			t.Fatal(changes, err)
		}
		if err := os.Chmod(filepath.Join(w.root, changes[len(changes)-1].Path), 0o777); err != nil {
			t.Fatal(err)
		}
		again, err := w.installer().Install(p, Program{Binary: "/opt/holdstill", Config: "/opt/h.yaml"}, false)
		if err != nil || again[len(again)-1].Action != Repair {
			t.Error(again, err)
		}
		w.uninstall(p)
		w.is(before, "after the uninstall")
	})
}

// fake is a host whose files the test chooses.
type fake struct {
	hook.Personality
	files []hook.File
}

func (f fake) Name() string                         { return "fake" }
func (f fake) Files(hook.Site) ([]hook.File, error) { return f.files, nil }

func TestWhatAnOlderVersionWroteGoes(t *testing.T) {
	w := newWorld(t, map[string]item{"/etc/": {mode: 0o755}, "/etc/b": {"mine", 0o604}})
	before := w.picture()
	older := fake{files: []hook.File{{Path: "/etc/a", Mode: 0o700, Content: []byte("1")}, {Path: "/etc/b", Mode: 0o700, Content: []byte("1")}, {Path: "/etc/new/deep/c", Mode: 0o600}}}
	w.install(older)
	w.install(fake{files: older.files[:1]})
	now := w.picture()
	if now["/etc/b"] != before["/etc/b"] || now["/etc/a"] == "" || now["/etc/new/deep/c"] != "" {
		t.Error(now)
	}
	w.uninstall(older)
	w.is(before, "after the uninstall")
	w.nothingKept("after the uninstall")
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, map[string]item{"/etc/": {mode: 0o755}, "/etc/dir/": {mode: 0o755}, "/etc/file": {"", 0o644}})
	before := w.picture()
	for _, path := range []string{"/etc/dir", "/etc/file/below"} {
		p := fake{files: []hook.File{{Path: "/etc/first", Mode: 0o600}, {Path: path, Mode: 0o600}}}
		if _, err := w.installer().Install(p, program, false); err == nil {
			t.Errorf("%s is written", path)
		}
		w.is(before, "after it was refused")
	}
}

func TestSomethingElseInOurDirectoryStays(t *testing.T) {
	w := newWorld(t, empty)
	vmware := makes()[4]
	w.install(vmware)
	mine := filepath.Join(w.root, "/etc/vmware-tools/backupScripts.d/60-mine")
	if err := os.WriteFile(mine, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	w.uninstall(vmware)
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestOneAtATime(t *testing.T) {
	w := newWorld(t, empty)
	err := w.installer().exclusively(func() error {
		_, err := w.installer().Install(makes()[0], program, false)
		return err
	})
	if !errors.Is(err, lock.ErrBusy) {
		t.Error(err)
	}
}

// A failed install takes itself back: the disk that is full is a directory that cannot be written to, here.
func TestFailureIsTakenBack(t *testing.T) {
	w := newWorld(t, livedIn)
	before := w.picture()
	i := w.installer()
	blocked := filepath.Join(w.root, "/etc/blocked/dir")
	i.step = func(what string) {
		if what == "renamed /etc/one" {
			_ = os.RemoveAll(filepath.Dir(blocked))
		}
	}
	p := fake{files: []hook.File{{Path: "/etc/azure/VMSnapshotScriptPluginConfig.json", Mode: 0o600}, {Path: "/etc/one", Mode: 0o600}, {Path: "/etc/blocked/dir/two", Mode: 0o600}}}
	if _, err := i.Install(p, program, false); err == nil || !strings.Contains(err.Error(), "/etc/blocked/dir/two") {
		t.Error(err)
	}
	w.is(before, "after a failed install")
	w.nothingKept("after a failed install")
}

func TestADamagedManifestStopsEverything(t *testing.T) {
	w := newWorld(t, empty)
	i := w.installer()
	w.install(makes()[0])
	installed := w.picture()
	if err := os.WriteFile(filepath.Join(i.dir("azure"), manifestName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, first := i.Install(makes()[0], program, false)
	_, second := i.Uninstall("azure", true, false)
	if first == nil || second == nil {
		t.Error(first, second)
	}
	w.is(installed, "with a damaged manifest")
}

// run lets a victim do something until it kills itself, and reports whether it did.
func (w world) run(verb string, p hook.Personality, binary string, nth int) (killed bool) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victim+"="+strings.Join([]string{verb, p.Name(), binary, strconv.Itoa(nth), w.root, w.state}, " "))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		return true
	}
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return false
}

// TestKilledAnywhere kills an install, an upgrade and an uninstall at every boundary. Each file is then what it was or what it was to be,
// no host runs anything that was left half way, and both an install and an uninstall complete it.
func TestKilledAnywhere(t *testing.T) {
	const first, second = "/usr/local/sbin/holdstill", "/opt/holdstill"
	everywhere(t, func(t *testing.T, p hook.Personality, items map[string]item) {
		t.Parallel()
		reference := newWorld(t, items)
		before := reference.picture()
		reference.run("install", p, first, 0)
		installed := reference.picture()
		reference.run("install", p, second, 0)
		upgraded := reference.picture()
		kills := 0
		for _, verb := range []string{"install", "upgrade", "uninstall"} {
			from, to := before, installed
			if verb == "upgrade" {
				from, to = installed, upgraded
			} else if verb == "uninstall" {
				from, to = installed, before
			}
			for nth, killed := 1, true; killed; nth++ {
				for _, mend := range []string{"install", "uninstall"} {
					w := newWorld(t, items)
					if verb != "install" {
						w.run("install", p, first, 0)
					}
					if verb == "upgrade" {
						killed = w.run("install", p, second, nth)
					} else {
						killed = w.run(verb, p, first, nth)
					}
					when := verb + " killed at " + strconv.Itoa(nth) + ", then " + mend
					w.eitherWay(from, to, when)
					w.run(mend, p, second, 0)
					w.is(map[string]map[string]string{"install": upgraded, "uninstall": before}[mend], when)
					w.uninstall(p)
					w.is(before, when+", then uninstall")
					w.nothingKept(when)
				}
				if killed {
					kills++
				}
			}
		}
		if kills < 9 {
			t.Errorf("only %d kills", kills)
		}
	})
}

// eitherWay looks at a machine after a kill.
func (w world) eitherWay(from, to map[string]string, when string) {
	w.t.Helper()
	now := w.picture()
	for _, path := range slices.Sorted(maps.Keys(now)) {
		is := now[path]
		if strings.HasPrefix(filepath.Base(path), ".") {
			if strings.HasSuffix(filepath.Dir(path), ".d") {
				w.t.Errorf("%s: %s lies where a host runs everything", when, path)
			}
			continue
		}
		if strings.HasPrefix(is, isFile) && is != from[path] && is != to[path] {
			w.t.Errorf("%s: %s is half way: %s", when, path, is)
		}
	}
	for path := range from {
		if _, wanted := to[path]; wanted && now[path] == "" {
			w.t.Errorf("%s: %s is gone", when, path)
		}
	}
}
