package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/fatih/color"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/scriptcheck"
)

// The bounds of looking for scripts: those that one host runs, with those that they call.
const (
	mostScripts   = 64
	largestScript = 128<<10 + 1 // what is longer is not read to its end
)

// machine is where scripts are looked for: its root is a parameter, as tests have machines of their own.
type machine struct{ root string }

// pair is what a host runs around a snapshot. A script for both gets an argument that tells which.
type pair struct {
	host, runBy     string
	pre, post, both string
}

// scripts tells the mistakes in the scripts of this machine, and in those that hold an instance of the kind scripts; of the latter
// Holdstill is the host, and goes by their first line.
func (a *app) scripts(f *database.Facts) []scriptcheck.Finding {
	var more []pair
	world := scriptcheck.World{Product: f.Product, Version: f.Version}
	if f.Scripts != nil {
		world = scriptcheck.World{} // which server they talk to is not known
		for _, p := range f.Scripts.Plugins {
			more = append(more, pair{host: "azure", pre: p.Pre, post: p.Post})
		}
	}
	return a.machine.scriptFindings(world, more...)
}

// scriptFindings tells the known mistakes in the scripts of the hosts' well-known places, and in those of more pairs.
func (m machine) scriptFindings(world scriptcheck.World, more ...pair) []scriptcheck.Finding {
	world.Sh = m.sh()
	pairs, out := m.pairs()
	for _, p := range append(pairs, more...) {
		scripts, faults := m.gather(p)
		for _, f := range append(faults, scriptcheck.Check(scripts, world)...) {
			if !slices.Contains(out, f) { // a library that several share
				out = append(out, f)
			}
		}
	}
	return out
}

// sh is the shell behind /bin/sh.
func (m machine) sh() string {
	target, err := filepath.EvalSymlinks(m.at("/bin/sh"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

func (m machine) at(path string) string { return filepath.Join("/", m.root, path) }

// pairs finds what the hosts run, with what is in the way of finding it.
func (m machine) pairs() ([]pair, []scriptcheck.Finding) {
	out, faults := m.azure()
	for _, dir := range []string{"/etc/qemu", "/etc/qemu-ga"} {
		out = append(out, pair{host: "qemu", both: dir + "/fsfreeze-hook"})
		out = append(out, m.each("qemu", dir+"/fsfreeze-hook.d")...)
	}
	out = append(out,
		pair{host: "gcp", pre: "/etc/google/snapshots/pre.sh", post: "/etc/google/snapshots/post.sh"},
		pair{host: "vmware", pre: "/usr/sbin/pre-freeze-script", post: "/usr/sbin/post-thaw-script"})
	return append(out, m.each("vmware", "/etc/vmware-tools/backupScripts.d")...), faults
}

// each takes the files of a directory that a host runs one by one; what editors and packages leave there, no host runs.
func (m machine) each(host, dir string) []pair {
	var out []pair
	entries, _ := os.ReadDir(m.at(dir)) // most machines have none
	for _, e := range entries {
		if !leftover.MatchString(e.Name()) {
			out = append(out, pair{host: host, both: filepath.Join(dir, e.Name())})
		}
	}
	return out
}

var leftover = regexp.MustCompile(`(~|\.bak|\.orig|\.rpmnew|\.rpmorig|\.rpmsave|\.sample|\.dpkg-[a-z]+)$`)

var pluginConfigPath = regexp.MustCompile(`(?m)^\s*pluginConfigPath\d*\s*[=:]\s*(\S+)`)

// azure takes the scripts that the plugins' configurations name; Azure runs them with sh, whatever their first line says.
func (m machine) azure() (out []pair, faults []scriptcheck.Finding) {
	faults = []scriptcheck.Finding{}
	configs := []string{"/etc/azure/VMSnapshotScriptPluginConfig.json"}
	if content, err := m.read("/etc/azure/VMSnapshotPluginHost.conf"); err == nil {
		for _, found := range pluginConfigPath.FindAllSubmatch(content, -1) {
			if path := string(found[1]); !slices.Contains(configs, path) {
				configs = append(configs, path)
			}
		}
	}
	for _, config := range configs {
		var named struct{ PreScriptLocation, PostScriptLocation string }
		content, err := m.read(config)
		if err == nil {
			err = json.Unmarshal(content, &named)
		}
		switch {
		case err == nil:
			out = append(out, pair{host: "azure", runBy: scriptcheck.BySh, pre: named.PreScriptLocation, post: named.PostScriptLocation})
		case !errors.Is(err, fs.ErrNotExist):
			faults = append(faults, unread(config, err))
		}
	}
	return out, faults
}

// gather reads a pair, and the scripts that it calls, as far as their names are known.
func (m machine) gather(p pair) (out []scriptcheck.Script, faults []scriptcheck.Finding) {
	todo := []scriptcheck.Script{
		{Path: p.pre, Purpose: scriptcheck.Pre, RunBy: p.runBy, Host: p.host},
		{Path: p.post, Purpose: scriptcheck.Post, RunBy: p.runBy, Host: p.host},
		{Path: p.both, Purpose: scriptcheck.Both, RunBy: p.runBy, Host: p.host},
	}
	asked := len(todo)
	for i := 0; i < len(todo) && i < mostScripts; i++ {
		s := todo[i]
		if s.Path == "" || slices.ContainsFunc(todo[:i], func(o scriptcheck.Script) bool { return o.Path == s.Path }) {
			continue
		}
		content, err := m.read(s.Path)
		if err != nil {
			if i < asked && !errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, unread(s.Path, err))
			}
			continue
		}
		s.Content = content
		out = append(out, s)
		todo = append(todo, scriptcheck.References(s)...)
	}
	return out, faults
}

// read takes regular files only: a pipe would never end.
func (m machine) read(path string) ([]byte, error) {
	info, err := os.Stat(m.at(path))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	f, err := os.Open(m.at(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, largestScript))
}

func unread(path string, err error) scriptcheck.Finding {
	f := scriptcheck.Finding{Path: path, Line: 1, Rule: "unreadable", What: "it cannot be read", Why: "what it does is not known", Remedy: "look at the file, and correct it"}
	if errors.Is(err, fs.ErrPermission) {
		f.Remedy = "run doctor as root"
	}
	return f
}

// printScriptFindings prints findings by file and line; what a rule has to say is said once.
func printScriptFindings(w io.Writer, findings []scriptcheck.Finding) {
	if len(findings) == 0 {
		return
	}
	heading(w, "Scripts of the host")
	said := map[string]bool{}
	for _, f := range findings {
		fmt.Fprintf(w, "  %s %s:%d %s\n", color.YellowString("!"), printable(f.Path), f.Line, printable(f.What))
		for _, text := range []string{f.Why, f.Remedy} {
			if !said[text] {
				said[text] = true
				fmt.Fprintln(w, "      "+strings.TrimSpace(printable(text)))
			}
		}
	}
}
