package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/snapshot/image"
)

// application is one that scripts hold, on an image: it writes the same number into two files, one after the other, under a lock. A cut
// at which the lock was held has two equal numbers.
type application struct {
	*shop
	dir   string // of the scripts, their configuration, and what they say they did
	quit  chan struct{}
	ended chan error
}

// The pre leaves the holder of the lock running, as scripts of databases do.
const (
	appPre = `#!/bin/bash
cd DIR; rm -f held release
( flock 9; touch held; echo held >> did; until [[ -e release ]]; do sleep 0.02; done; echo released >> did ) 9> DATA/lock &
until [[ -e held ]]; do sleep 0.02; done`
	appPost = `#!/usr/bin/python3
import os, time
os.chdir("DIR"); open("release", "w").close()
while "released" not in open("did").read().split("held")[-1]: time.sleep(0.02)
open("did", "a").write("post\n")`
	failingPre = "cd DIR; echo failed >> did; exit 7"
	plainPost  = "cd DIR; echo post >> did"
)

func openApplication(t *testing.T) *application {
	t.Helper()
	l := labtest.New(t)
	s := &shop{t: t, lab: l, state: filepath.Join(l.Dir(), "state"), config: filepath.Join(l.Dir(), "holdstill.yaml")}
	s.run = must(os.MkdirTemp("/run", "holdstill-e2e-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(s.run) })
	s.outer = must(l.FS(t.Context(), "host", "xfs", 2<<30))(t)
	s.volume = must(l.ImageOn(t.Context(), s.outer, "disk", "ext4", 256<<20))(t)
	a := &application{shop: s, dir: filepath.Join(l.Dir(), "scripts"), quit: make(chan struct{}), ended: make(chan error, 1)}
	check(t, os.Mkdir(a.dir, 0o700))
	text := fmt.Sprintf("instances:\n  app:\n    kind: scripts\n    plugin_config: %s\n    host_backup_config: %s\n    paths: [%s]\n", a.file("plugin.json"), a.file("vmbackup.conf"), s.volume.Dir)
	check(t, os.WriteFile(s.config, []byte(text), 0o600))
	go func() { a.ended <- a.write() }()
	t.Cleanup(func() {
		close(a.quit)
		check(t, <-a.ended)
	})
	return a
}

func (a *application) file(name string) string { return filepath.Join(a.dir, name) }
func (a *application) data(name string) string { return filepath.Join(a.volume.Dir, name) }

// write is the application's life.
func (a *application) write() error {
	lock, err := os.Create(a.data("lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	for n := 0; ; n++ {
		select {
		case <-a.quit:
			return nil
		case <-time.After(time.Millisecond):
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			continue
		}
		number := fmt.Appendf(nil, "%08d", n)
		err := os.WriteFile(a.data("one"), number, 0o600)
		time.Sleep(5 * time.Millisecond)
		if err := errorsOf(err, os.WriteFile(a.data("two"), number, 0o600), unix.Flock(int(lock.Fd()), unix.LOCK_UN)); err != nil {
			return err
		}
	}
}

// set writes the scripts and their configuration; settings change what would be fine.
func (a *application) set(pre, post string, settings map[string]any) {
	a.t.Helper()
	config := map[string]any{"pluginName": "ScriptRunner", "timeoutInSeconds": 30, "preScriptLocation": a.file("pre"), "postScriptLocation": a.file("post")}
	for key, value := range settings {
		config[key] = value
	}
	fill := strings.NewReplacer("DIR", a.dir, "DATA", a.volume.Dir)
	check(a.t, os.WriteFile(a.file("plugin.json"), must(json.Marshal(config))(a.t), 0o600))
	for name, text := range map[string]string{"pre": pre, "post": post} {
		check(a.t, os.RemoveAll(a.file(name)))
		check(a.t, os.WriteFile(a.file(name), []byte(fill.Replace(text)), 0o700))
	}
	check(a.t, os.WriteFile(a.file("vmbackup.conf"), []byte("[SnapshotThread]\ntimeout = 60\n"), 0o644))
	_ = os.Remove(a.file("did"))
}

// did wants the scripts to have done this, forgets it, and wants nothing of any run to be left.
func (a *application) did(want string) {
	a.t.Helper()
	got, _ := os.ReadFile(a.file("did"))
	_ = os.Remove(a.file("did"))
	if words := strings.Join(strings.Fields(string(got)), " "); words != want {
		a.t.Errorf("the scripts did %q, not %q", words, want)
	}
	for _, n := range append(names(a.t, filepath.Join(a.state, "runs")), names(a.t, a.run)...) {
		if !strings.HasSuffix(n, ".lock") {
			a.t.Errorf("left: %s", n)
		}
	}
}

// equal opens a point's cut and compares the two files.
func (a *application) equal(p *catalog.Point) {
	a.t.Helper()
	tree := must(image.New().Open(a.t.Context(), p.Snapshot.Refs[0]))(a.t)
	defer func() { check(a.t, tree.Close()) }()
	var numbers []string
	for _, name := range []string{"one", "two"} {
		path := must(tree.Locate(a.data(name)))(a.t)
		numbers = append(numbers, string(must(os.ReadFile(path))(a.t)))
	}
	if numbers[0] != numbers[1] || len(numbers[0]) != 8 {
		a.t.Errorf("the cut has %q", numbers)
	}
}

// wants checks a point's level and the codes of its scripts.
func wants(t *testing.T, p *catalog.Point, level catalog.Consistency, frozen bool, codes ...int) {
	t.Helper()
	if p.Consistency != level || p.ConsistencyReason == "" || (p.Window.FreezeMS > 0) != frozen || p.Server.Product != "scripts" {
		t.Errorf("%s (%s), frozen for %v ms, of %s", p.Consistency, p.ConsistencyReason, p.Window.FreezeMS, p.Server.Product)
	}
	var got []int
	for _, s := range p.Scripts {
		got = append(got, s.Code)
	}
	if fmt.Sprint(got) != fmt.Sprint(codes) {
		t.Errorf("codes %v, not %v", got, codes)
	}
}

// TestScripts takes points of each level.
func TestScripts(t *testing.T) {
	a := openApplication(t)
	unfrozen, insist := map[string]any{"fsFreezeEnabled": false}, map[string]any{"continueBackupOnFailure": false}

	a.set(appPre, appPost, nil)
	a.holdstill("doctor").want(t, 0)
	p := a.backup()
	wants(t, p, catalog.Application, true, 0, 0)
	a.did("held released post")
	a.equal(p)
	if w := p.Window; w.StallMS < w.LockMS || w.LockMS < w.FreezeMS || w.FreezeMS < w.SnapshotMS {
		t.Errorf("%+v", w)
	}
	contains(t, a.holdstill("points", "show", p.ID).want(t, 0).stdout, "held by scripts", "pre script")
	o := a.holdstill("restore", p.ID, "--datadir", a.file("restored")).want(t, 2)
	contains(t, o.stderr, "no server", p.Snapshot.Refs[0].Name)

	a.set(appPre, appPost, unfrozen)
	p = a.backup()
	wants(t, p, catalog.Application, false, 0, 0)
	a.did("held released post")
	a.equal(p)

	a.set(appPre, appPost, nil)
	check(t, os.WriteFile(a.file("vmbackup.conf"), []byte("[SnapshotThread]\nMountsToSkip = /elsewhere,"+a.volume.Dir+"\n"), 0o644))
	wants(t, a.backup(), catalog.Application, false, 0, 0)
	a.did("held released post")

	a.set(failingPre, plainPost, nil)
	wants(t, a.holdstill("--json", "backup").want(t, 3).point(t), catalog.Filesystem, true, 300, 0)
	a.did("failed post")
	a.holdstill("backup", "--require", "filesystem").want(t, 0)
	a.did("failed post")

	a.set(failingPre, plainPost, unfrozen)
	wants(t, a.holdstill("--json", "backup").want(t, 3).point(t), catalog.Crash, false, 300, 0)
	a.did("failed post")

	before := a.cuts()
	a.set(failingPre, plainPost, insist)
	contains(t, a.holdstill("backup").want(t, 1).stderr, "code 300")
	a.did("failed post")
	check(t, os.Chmod(a.file("pre"), 0o755))
	contains(t, a.holdstill("backup").want(t, 1).stderr, "code 306", "chmod 0700")
	a.did("")
	if after := a.cuts(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("cuts %v, before %v", after, before)
	}

	a.set(appPre, appPost, nil)
	check(t, os.Chmod(a.file("post"), 0o755))
	contains(t, a.holdstill("doctor").want(t, 1).stdout, "code 307", "chmod 0700", "filesystem")
	wants(t, a.holdstill("--json", "backup").want(t, 3).point(t), catalog.Filesystem, true, 307)
	a.did("")
}

// TestScriptsPostFails wants the point, a code of 6, and the post to be owed until it succeeds.
func TestScriptsPostFails(t *testing.T) {
	a := openApplication(t)
	a.set("cd DIR; echo pre >> did", "cd DIR; echo post >> did; test -e mended", nil)
	p := a.holdstill("--json", "backup").want(t, 6).point(t)
	wants(t, p, catalog.Application, true, 0, 301)
	contains(t, strings.Join(p.Warnings, " "), "code 301", a.file("post"))
	o := a.holdstill("backup").want(t, 6)
	contains(t, o.stderr, "code 301", a.file("post"))
	a.holdstill("recover").want(t, 6)
	check(t, os.WriteFile(a.file("mended"), nil, 0o600))
	a.holdstill("recover").want(t, 0)
	a.did("pre post post post post")
	if list := a.holdstill("points", "list", "--json").want(t, 0).stdout; strings.Count(list, `"id"`) < 1 || !strings.Contains(list, p.ID) {
		t.Errorf("the point is gone: %s", list)
	}
}

// TestScriptsKilled kills the program at every boundary of the hold, and in mid-pre: recover runs the post if the pre was started.
func TestScriptsKilled(t *testing.T) {
	a := openApplication(t)
	for boundary, did := range map[string]string{
		"hold.promise": "", "hold.act": "", "hold.acted": "held released post", "freeze.acted": "held released post", "cut.acted": "held released post",
		"hold.undo": "held released post", "hold.undone": "held released post", "record.write": "held released post",
	} {
		a.set(appPre, appPost, nil)
		if o := a.withFault(boundary+":kill", "backup"); o.code != -1 {
			t.Fatalf("%s: the kill did not happen: %d %s", boundary, o.code, o.stderr)
		}
		time.Sleep(200 * time.Millisecond)
		a.holdstill("recover").want(t, 0)
		a.did(did)
		if t.Failed() {
			t.Fatal(boundary)
		}
	}
	a.set(appPre, appPost, nil)
	a.withFault("freeze.act:error", "backup").want(t, 1) // needs no recover
	a.did("held released post")
	a.set("cd DIR; echo began >> did; echo $$ > pid; sleep 1000; echo wrong >> did", plainPost, map[string]any{"timeoutInSeconds": 100})
	cmd := a.command(t.Context(), normal, "", "backup")
	check(t, cmd.Start())
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(a.file("pid")); err == nil {
			break
		}
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	a.holdstill("recover").want(t, 0)
	a.did("began post")
	if cuts := a.cuts(); len(cuts) > 0 {
		t.Errorf("cuts are left: %v", cuts)
	}
}
