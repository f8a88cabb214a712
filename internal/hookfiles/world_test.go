package hookfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/hook/aws"
	"github.com/holdstill/holdstill/internal/hook/azure"
	"github.com/holdstill/holdstill/internal/hook/gcp"
	"github.com/holdstill/holdstill/internal/hook/qemu"
	"github.com/holdstill/holdstill/internal/hook/veeam"
	"github.com/holdstill/holdstill/internal/hook/vmware"
)

func makes() []hook.Personality {
	return []hook.Personality{azure.New(), qemu.New(), gcp.New(), aws.New(), vmware.New(), veeam.New()}
}

// item is a file, a link (to what comes after ->) or a directory (a path that ends in /).
type item struct {
	content string
	mode    fs.FileMode
}

// livedIn is what people and packages have on a machine already, for every host.
var livedIn = map[string]item{
	"/etc/":       {mode: 0o755},
	"/etc/azure/": {mode: 0o750},
	"/etc/azure/VMSnapshotScriptPluginConfig.json": {`{"preScriptLocation":"/opt/pre.sh","timeoutInSeconds":30}`, 0o640},
	"/etc/qemu/":                               {mode: 0o755},
	"/etc/qemu/fsfreeze-hook":                  {"#!/bin/sh\nmy own\n", 0o4750},
	"/etc/qemu/fsfreeze-hook.d/":               {mode: 0o700},
	"/etc/qemu/fsfreeze-hook.d/10-mine":        {"#!/bin/sh\n", 0o700},
	"/etc/qemu/qemu-ga.conf":                   {"# mine\n[general]\nverbose=true\n", 0o600},
	"/etc/default/":                            {mode: 0o755},
	"/etc/default/instance_configs.cfg":        {"-> ../../srv/instance_configs.cfg", 0},
	"/srv/":                                    {mode: 0o755},
	"/srv/instance_configs.cfg":                {"[Core]\na = 1\n", 0o644},
	"/etc/google/":                             {mode: 0o755},
	"/etc/google/snapshots/":                   {mode: 0o775},
	"/etc/google/snapshots/pre.sh":             {"#!/bin/bash\nflush\n", 0o755},
	"/etc/holdstill/":                          {mode: 0o700},
	"/etc/holdstill/holdstill.yaml":            {"instances: {}\n", 0o600},
	"/etc/holdstill/veeam-pre-freeze.sh":       {"-> /opt/pre.sh", 0},
	"/etc/vmware-tools/":                       {mode: 0o755},
	"/etc/vmware-tools/backupScripts.d/":       {mode: 0o755},
	"/etc/vmware-tools/backupScripts.d/10-old": {"#!/bin/sh\n", 0o755},
}

var empty = map[string]item{"/etc/": {mode: 0o755}}

type world struct {
	t           testing.TB
	root, state string
}

func newWorld(t testing.TB, items map[string]item) world {
	t.Helper()
	w := world{t, t.TempDir(), t.TempDir()}
	var all []error
	for path := range items {
		all = append(all, os.MkdirAll(filepath.Join(w.root, filepath.Dir(strings.TrimSuffix(path, "/")+"/x")+"/.."), 0o755))
	}
	for path, i := range items {
		at := filepath.Join(w.root, path)
		target, link := strings.CutPrefix(i.content, "-> ")
		switch {
		case link:
			all = append(all, os.Symlink(target, at))
		case strings.HasSuffix(path, "/"):
			all = append(all, os.MkdirAll(at, 0o755))
		default:
			all = append(all, os.WriteFile(at, []byte(i.content), 0o600), chownForTest(at), chmod(at, i.mode))
		}
	}
	for path, i := range items {
		if strings.HasSuffix(path, "/") {
			all = append(all, os.Chmod(filepath.Join(w.root, path), i.mode))
		}
	}
	if err := errors.Join(all...); err != nil {
		t.Fatal(err)
	}
	return w
}

// chownForTest gives files to somebody else, where that can be done.
func chownForTest(at string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(at, 12, 34)
}

func chmod(at string, mode fs.FileMode) error { return syscall.Chmod(at, uint32(mode)) }

func (w world) installer() *Installer {
	i := New(w.root, w.state)
	i.uid, i.gid = os.Geteuid(), os.Getegid()
	return i
}

var program = Program{Binary: "/usr/local/sbin/holdstill"}

func (w world) install(p hook.Personality) []Change {
	w.t.Helper()
	changes, err := w.installer().Install(p, program, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}

func (w world) uninstall(p hook.Personality) []Change {
	w.t.Helper()
	changes, err := w.installer().Uninstall(p.Name(), false, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}

// picture is all that lies below a directory, a line each: times are the only thing left out.
func picture(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		what, content, err := look(path)
		out[strings.TrimPrefix(path, root)] = fmt.Sprintf("%s %s %d:%d %s %q", what.Kind, what.Mode, what.UID, what.GID, what.Target, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (w world) picture() map[string]string { return picture(w.t, w.root) }

func (w world) is(want map[string]string, when string) {
	w.t.Helper()
	now := w.picture()
	for path, is := range want {
		if now[path] != is {
			w.t.Errorf("%s: %s was %s, is %s", when, path, is, now[path])
		}
	}
	for path, is := range now {
		if _, known := want[path]; !known {
			w.t.Errorf("%s: %s is there: %s", when, path, is)
		}
	}
}

func (w world) nothingKept(when string) {
	w.t.Helper()
	if left := picture(w.t, filepath.Join(w.state, "hooks")); len(left) > 1 {
		w.t.Errorf("%s: is kept still: %v", when, left)
	}
}

func (w world) read(path string) string {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.root, path))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

func (w world) append(path, text string) {
	w.t.Helper()
	at := filepath.Join(w.root, path)
	info, err := os.Stat(at)
	if err == nil {
		err = os.WriteFile(at, []byte(w.read(path)+text), info.Mode())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// The variable makes the test's own binary a victim: it installs or uninstalls, and kills itself at a boundary.
const victim = "HOLDSTILL_HOOKFILES_VICTIM" // VERB HOST BINARY N ROOT STATE

func TestMain(m *testing.M) {
	if words := strings.Fields(os.Getenv(victim)); len(words) == 6 {
		beVictim(words)
	}
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // hundreds of kills, each with all its syncs
		_ = os.Setenv("TMPDIR", "/dev/shm")
	}
	os.Exit(m.Run())
}

func beVictim(words []string) {
	nth, _ := strconv.Atoi(words[3])
	i := world{root: words[4], state: words[5]}.installer()
	passed := 0
	i.step = func(string) {
		if passed++; passed == nth {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	var err error
	for _, p := range makes() {
		if p.Name() == words[1] && words[0] == "install" {
			_, err = i.Install(p, Program{Binary: words[2]}, false)
		} else if p.Name() == words[1] {
			_, err = i.Uninstall(p.Name(), false, false)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
