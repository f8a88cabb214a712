package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/scriptcheck"
	"github.com/holdstill/holdstill/internal/wire"
)

const (
	losesLock = "#!/bin/bash\nset -e\nmysql -e 'FLUSH TABLES WITH READ LOCK'\n"
	isBash    = "#!/bin/bash\n[[ -d /srv ]]\n"
)

// machineWith is a machine with files, and dash as its sh.
func machineWith(t *testing.T, files map[string]string) machine {
	t.Helper()
	m := machine{root: t.TempDir()}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(m.at(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.at(path), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func places(findings []scriptcheck.Finding) []string {
	out := []string{}
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s:%d %s", f.Path, f.Line, f.Rule))
	}
	slices.Sort(out)
	return out
}

func TestScriptsAreFoundWhereHostsHaveThem(t *testing.T) {
	m := machineWith(t, map[string]string{
		"/etc/azure/VMSnapshotScriptPluginConfig.json": `{"pluginName": "ScriptRunner", "preScriptLocation": "/opt/azure/pre.sh", "postScriptLocation": "/opt/azure/none.sh"}`,
		"/etc/azure/VMSnapshotPluginHost.conf":         "[pre_post]\nnumberOfPlugins = 1\npluginConfigPath0 = /opt/second.json\n",
		"/opt/second.json":                             `{"preScriptLocation": "/opt/second-pre.sh"}`,
		"/opt/second-pre.sh":                           losesLock,
		"/opt/azure/pre.sh":                            isBash + "bash \"$(dirname \"$0\")/source.sh\"\nmysql < lock.sql\n",
		"/opt/azure/source.sh":                         losesLock,
		"/opt/azure/lock.sql":                          "FLUSH TABLES WITH READ LOCK;\n",
		"/etc/qemu/fsfreeze-hook":                      losesLock,
		"/etc/qemu/fsfreeze-hook.d/mysql.sh":           isBash + "sleep 5\n",
		"/etc/qemu/fsfreeze-hook.d/mysql.sh.dpkg-old":  losesLock,
		"/etc/qemu/fsfreeze-hook.d/old.sample":         losesLock,
		"/etc/qemu-ga/fsfreeze-hook":                   losesLock,
		"/etc/google/snapshots/pre.sh":                 losesLock,
		"/etc/google/snapshots/post.sh":                "#!/bin/sh\nset -e\nmysql -e 'START REPLICA'\n",
		"/usr/sbin/pre-freeze-script":                  "#!/bin/sh\nexec /usr/local/sbin/holdstill hook vmware freeze\n",
		"/usr/sbin/post-thaw-script":                   "#!/bin/sh\nset -e\nmysql -e 'SET GLOBAL read_only = 0'\n",
		"/etc/vmware-tools/backupScripts.d/10-db":      losesLock,
	})
	want := []string{
		"/etc/google/snapshots/post.sh:3 replication-started",
		"/etc/google/snapshots/pre.sh:3 lost-lock",
		"/etc/qemu-ga/fsfreeze-hook:3 lost-lock",
		"/etc/qemu/fsfreeze-hook.d/mysql.sh:3 fixed-sleep",
		"/etc/qemu/fsfreeze-hook:3 lost-lock",
		"/etc/vmware-tools/backupScripts.d/10-db:3 lost-lock",
		"/opt/azure/pre.sh:2 bash-under-sh",
		"/opt/azure/pre.sh:4 lost-lock",
		"/opt/azure/source.sh:3 lost-lock",
		"/opt/second-pre.sh:3 lost-lock",
		"/usr/sbin/post-thaw-script:3 read-only-off",
	}
	if got := places(m.scriptFindings(scriptcheck.World{})); !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A machine without scripts has an empty list, not none: JSON says [].
func TestNoScripts(t *testing.T) {
	a := &app{machine: machineWith(t, nil)}
	got := a.scripts(&database.Facts{Product: database.MariaDB, Version: "10.11.6"})
	if got == nil || len(got) > 0 {
		t.Errorf("found %#v", got)
	}
	var out bytes.Buffer
	printScriptFindings(&out, got)
	if out.Len() > 0 {
		t.Errorf("said %q", out.String())
	}
}

// The scripts of an instance are read too; Holdstill honours their first line, so bash is no mistake there.
func TestScriptsOfAnInstance(t *testing.T) {
	a := &app{machine: machineWith(t, map[string]string{"/opt/app/pre.sh": isBash + "sleep 5\n", "/opt/app/post.sh": isBash})}
	f := &database.Facts{Scripts: &database.Scripted{Plugins: []database.Plugin{{Pre: "/opt/app/pre.sh", Post: "/opt/app/post.sh"}}}}
	if got := places(a.scripts(f)); !slices.Equal(got, []string{"/opt/app/pre.sh:3 fixed-sleep"}) {
		t.Errorf("found %q", got)
	}
}

// The server that is there decides which statements are missing.
func TestScriptsKnowTheServer(t *testing.T) {
	a := &app{machine: machineWith(t, map[string]string{"/etc/google/snapshots/pre.sh": "#!/bin/sh\nset -e\nmysql -e 'SHOW MASTER STATUS'\n"})}
	for version, want := range map[string]int{"8.0.36": 0, "8.4.1": 1} {
		if got := a.scripts(&database.Facts{Product: database.MySQL, Version: version}); len(got) != want {
			t.Errorf("%s: found %+v", version, got)
		}
	}
}

// What lies there and is no readable script is told, or passed over; it never blocks.
func TestScriptsThatAreNone(t *testing.T) {
	m := machineWith(t, map[string]string{"/etc/azure/VMSnapshotScriptPluginConfig.json": "{", "/etc/qemu/fsfreeze-hook": "\x7fELF\x00sleep 5"})
	if err := os.MkdirAll(m.at("/etc/google/snapshots"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(m.at("/etc/google/snapshots/pre.sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := []string{"/etc/azure/VMSnapshotScriptPluginConfig.json:1 unreadable", "/etc/google/snapshots/pre.sh:1 unreadable"}
	if got := places(m.scriptFindings(scriptcheck.World{})); !slices.Equal(got, want) {
		t.Errorf("found %q", got)
	}
}

// Where sh is bash, bash code under sh works.
func TestScriptsWhereShIsBash(t *testing.T) {
	m := machineWith(t, map[string]string{"/bin/bash": "", "/etc/azure/VMSnapshotScriptPluginConfig.json": `{"preScriptLocation": "/opt/pre.sh"}`, "/opt/pre.sh": isBash})
	if err := os.Symlink("bash", m.at("/bin/sh")); err != nil {
		t.Fatal(err)
	}
	if got := places(m.scriptFindings(scriptcheck.World{})); len(got) > 0 {
		t.Errorf("found %q", got)
	}
}

func TestFindingsArePrintedOnce(t *testing.T) {
	m := machineWith(t, map[string]string{"/etc/google/snapshots/pre.sh": "#!/bin/sh\nset -e\nsleep 5\nsleep 6\n"})
	var out bytes.Buffer
	printScriptFindings(&out, m.scriptFindings(scriptcheck.World{}))
	for text, times := range map[string]int{"Scripts of the host\n": 1, "/etc/google/snapshots/pre.sh:3 a fixed sleep\n": 1, "/etc/google/snapshots/pre.sh:4 a fixed sleep\n": 1, "holdstill hook gcp": 1} {
		if strings.Count(out.String(), text) != times {
			t.Errorf("%q is not there %d times:\n%s", text, times, out.String())
		}
	}
}

// What Holdstill installs itself has none of the mistakes.
func TestOurOwnScriptsAreGood(t *testing.T) {
	site := hook.Site{
		Binary: "/usr/local/sbin/holdstill", Config: "/etc/holdstill/other.yaml",
		Read: func(string) ([]byte, error) { return nil, fs.ErrNotExist },
		Stat: func(string) (fs.FileInfo, error) { return nil, fs.ErrNotExist },
	}
	read := 0
	for _, p := range wire.Personalities() {
		files, err := p.Files(site)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, runBy := range []string{"", scriptcheck.BySh} {
				if !bytes.HasPrefix(f.Content, []byte("#!")) {
					continue
				}
				read++
				s := scriptcheck.Script{Path: f.Path, Content: f.Content, Purpose: scriptcheck.Both, RunBy: runBy, Host: p.Name()}
				if got := places(scriptcheck.Check([]scriptcheck.Script{s}, scriptcheck.World{})); len(got) > 0 {
					t.Errorf("%s: %q in\n%s", p.Name(), got, f.Content)
				}
			}
		}
	}
	if read < 8 {
		t.Errorf("only %d scripts were read", read)
	}
}
