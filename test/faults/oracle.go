package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
)

// view is what an outsider sees of a world: nothing of it is read from Holdstill's own records.
type view struct {
	readOnly []string // of subject and leaf
	threads  []string // of subject and leaf: each channel's threads and their errors
	serves   []string // the servers that run
	mounts   []string // and loop devices below the lab
}

func (w *world) look() (view, error) {
	var v view
	ctx, cancel := context.WithTimeout(w.ctx, 15*time.Second)
	defer cancel()
	for _, s := range w.servers() {
		if !s.Running() {
			continue
		}
		v.serves = append(v.serves, s.Name)
		ro, err := s.Value(ctx, "SELECT CONCAT_WS(' ', @@global.read_only"+w.superReadOnly()+")")
		if err != nil {
			return v, err
		}
		threads, err := threadsOf(ctx, s)
		if err != nil {
			return v, err
		}
		v.readOnly = append(v.readOnly, s.Name+" "+ro)
		v.threads = append(v.threads, s.Name+" "+threads)
	}
	v.mounts = append(mountsBelow(w.lab.Dir()), loopsBelow(w.lab.Dir())...)
	return v, nil
}

func (w *world) superReadOnly() string {
	if strings.HasPrefix(w.product, "mysql") {
		return ", @@global.super_read_only"
	}
	return ""
}

// servers are all of the world, each once.
func (w *world) servers() []*lab.Server {
	out := []*lab.Server{w.subject}
	if w.origin != w.subject {
		out = append(out, w.origin)
	}
	if w.leaf != nil {
		out = append(out, w.leaf)
	}
	return out
}

func threadsOf(ctx context.Context, s *lab.Server) (string, error) {
	rows, err := s.Replication(ctx)
	if err != nil {
		return "", err
	}
	var out []string
	for _, r := range rows {
		out = append(out, strings.TrimSpace(fmt.Sprintf("receiver %s, applier %s %s %s", r.Receiver, r.Applier, r.ReceiverError, r.ApplierError)))
	}
	return strings.Join(out, "; "), nil
}

func mountsBelow(dir string) []string {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	var out []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			out = append(out, "mount "+f[4])
		}
	}
	slices.Sort(out)
	return out
}

// loopsBelow lists images by name: a loop device's number changes when it is attached anew.
func loopsBelow(dir string) []string {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var out []string
	for _, f := range files {
		if text, _ := os.ReadFile(f); strings.HasPrefix(string(text), dir+"/") {
			out = append(out, "loop "+strings.TrimSpace(string(text)))
		}
	}
	slices.Sort(out)
	return out
}

// leftBehind tells all that differs from before, and all that must not be there whatever was before.
func (w *world) leftBehind(before view) []string {
	var left []string
	if !w.probe.flows(3 * time.Second) {
		left = append(left, fmt.Sprintf("%s is frozen (thawed by the campaign: %v)", w.volume.Dir, w.probe.thaw()))
	}
	if err := within(20*time.Second, func() error { return w.asBefore(before) }); err != nil {
		left = append(left, err.Error())
	}
	if err := within(2*time.Second, w.noSessions); err != nil {
		left = append(left, err.Error())
	}
	if err := w.takesWrites(); err != nil {
		left = append(left, err.Error())
	}
	if err := within(2*time.Second, w.noProcesses); err != nil {
		left = append(left, err.Error())
	}
	left = append(left, w.files()...)
	return append(left, w.unlistedCuts()...)
}

func (w *world) asBefore(before view) error {
	now, err := w.look()
	if err != nil {
		return err
	}
	var all []error
	for _, c := range []struct {
		what     string
		now, was []string
	}{{"servers", now.serves, before.serves}, {"read-only", now.readOnly, before.readOnly}, {"threads", now.threads, before.threads}, {"mounts", now.mounts, before.mounts}} {
		if !slices.Equal(c.now, c.was) {
			all = append(all, fmt.Errorf("%s: %q, before %q", c.what, c.now, c.was))
		}
	}
	return errors.Join(all...)
}

// noSessions wants none of the keeper's: a session is where locks live.
func (w *world) noSessions() error {
	n, err := w.subject.Value(w.ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'keeper'")
	if err == nil && n != "0" {
		err = fmt.Errorf("%s sessions of Holdstill are left", n)
	}
	return err
}

// takesWrites proves that no lock is held: a commit, and a change of the schema, which a backup lock would stop. Root may write
// where read_only stands, and nothing of it goes into the binary log.
func (w *world) takesWrites() error {
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	statements := []string{"SET SESSION sql_log_bin = 0", "SET SESSION lock_wait_timeout = 3", "CREATE DATABASE IF NOT EXISTS oracle",
		"CREATE TABLE IF NOT EXISTS oracle.t (a INT) ENGINE=InnoDB", "INSERT INTO oracle.t VALUES (1)", "DROP TABLE oracle.t", "SET SESSION sql_log_bin = 1"}
	if err := w.subject.Exec(ctx, statements...); err != nil {
		return fmt.Errorf("the server takes no writes: %w", err)
	}
	return nil
}

// noProcesses wants none of this world's program: it has a copy of its own.
func (w *world) noProcesses() error {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.TrimSuffix(to, " (deleted)") == w.program {
			return fmt.Errorf("process %s of Holdstill is left", filepath.Base(filepath.Dir(link)))
		}
	}
	return nil
}

// files are those in the state and run directories that a run which is over has no business to leave.
func (w *world) files() []string {
	var left []string
	for dir, suffix := range map[string]string{w.runDir: ".lock", filepath.Join(w.state, "runs"): "/none", filepath.Join(w.state, "points"): ".json"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			left = append(left, err.Error())
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), suffix) {
				left = append(left, "file "+filepath.Join(dir, e.Name()))
			}
		}
	}
	return left
}

// unlistedCuts compares the snapshots on the storage with the points: none without the other.
func (w *world) unlistedCuts() []string {
	cuts := w.cuts()
	listed := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(w.state, "points", "*.json"))
	for _, f := range files {
		var p catalog.Point
		text, err := os.ReadFile(f)
		if err := errors.Join(err, json.Unmarshal(text, &p)); err != nil {
			return []string{fmt.Sprintf("the point %s cannot be read: %v", f, err)}
		}
		listed[p.ID] = true
	}
	var left []string
	for id := range listed {
		if !slices.ContainsFunc(cuts, func(c string) bool { return strings.Contains(c, id) }) {
			left = append(left, "the point "+id+" has no snapshot")
		}
	}
	for _, c := range cuts {
		found := false
		for id := range listed {
			found = found || strings.Contains(c, id)
		}
		if !found {
			left = append(left, "the snapshot "+c+" belongs to no point")
		}
	}
	return left
}

// cuts lists what lies where the providers keep their snapshots.
func (w *world) cuts() []string {
	dir := filepath.Join(w.volume.Dir, ".holdstill")
	if w.outer != nil {
		dir = filepath.Join(w.outer.Dir, ".holdstill")
	}
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// stalled is the longest commit that ended after the moment, or that waits now, as the writers saw it.
func (w *world) stalled(since time.Time) time.Duration {
	var worst time.Duration
	last := since
	for _, a := range w.writer.Since(since) {
		worst = max(worst, a.Latency)
		last = a.At
	}
	return max(worst, time.Since(last))
}

// commits waits for the writers' next acknowledged commit.
func (w *world) commits(after time.Time, limit time.Duration) bool {
	return within(limit, func() error {
		if len(w.writer.Since(after)) == 0 {
			return errors.New("no commit")
		}
		return nil
	}) == nil
}
