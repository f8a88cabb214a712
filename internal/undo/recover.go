package undo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/durable"
)

// Left is a run whose ledger is there: under way, or killed, crashed, rebooted, or stuck.
type Left struct {
	Run      string
	Instance string
	PID      int
	Open     []Deed
	Err      error // the ledger cannot be read; Open is what could be
	path     string
}

// Concerns tells whether the run was the instance's, or has left it changed.
func (l Left) Concerns(instance string) bool {
	return l.Instance == instance || slices.Contains(l.Instances(), instance)
}

// Instances are those that the run has left changed, beside its own.
func (l Left) Instances() (names []string) {
	for _, d := range l.Open {
		if d.Instance != "" && !slices.Contains(names, d.Instance) {
			names = append(names, d.Instance)
		}
	}
	return names
}

// Leftovers lists the ledgers below dir, oldest first. One that cannot be read hides no other.
func Leftovers(dir string) ([]Left, error) {
	paths, err := ledgersIn(dir)
	if err != nil {
		return nil, err
	}
	var out []Left
	for _, path := range paths {
		head, receipts, err := readLedger(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // its run ended just now
		}
		left := Left{Run: head.Run, Instance: head.Instance, PID: head.PID, Err: err, path: path}
		if left.Run == "" { // only damage tears the first line: it is synced before the ledger has its name
			left.Run = strings.TrimSuffix(filepath.Base(path), ledgerSuffix)
		}
		for _, r := range receipts {
			if r.open {
				left.Open = append(left.Open, r.Deed)
			}
		}
		out = append(out, left)
	}
	return out, nil
}

// Sweep removes what runs left that died while they made their ledger: nothing was promised in it. One that is being made is locked.
func Sweep(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+ledgerSuffix+unbegun))
	all := []error{err}
	for _, path := range paths {
		file, err := reopenLedger(path)
		if err == nil {
			err = errors.Join(os.Remove(path), file.close())
		}
		if err != nil && !errors.Is(err, ErrAlive) && !errors.Is(err, os.ErrNotExist) {
			all = append(all, fmt.Errorf("cannot remove the ledger of a run that never began: %w", err))
		}
	}
	return errors.Join(all...)
}

// TakeBack undoes what the dead run left open, last first, and removes its ledger when nothing is left. Deeds marked
// UntilCommit are kept if committed(run) says that the catalogue has the run's point. It returns what it took back, ErrAlive if
// the run's process lives, and Stuck for what it could not take back.
func (l Left) TakeBack(ctx context.Context, registry Registry, committed func(run string) bool, log *slog.Logger) ([]Deed, error) {
	file, err := reopenLedger(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // it ended by itself
	}
	if err != nil {
		return nil, err
	}
	head, receipts, err := readLedger(l.path)
	if err == nil && head.Instance != l.Instance {
		err = fmt.Errorf("the ledger %s changed hands while it was read", l.path)
	}
	if err != nil {
		look := Deed{Title: "read the ledger of the run " + l.Run, Manual: "less " + l.path}
		return nil, errors.Join(&Stuck{Run: l.Run, Instance: l.Instance, Deed: look, Err: err}, file.close())
	}
	run := &Run{ID: l.Run, Instance: l.Instance, ledger: file, registry: registry, log: log, receipts: receipts}
	var tried []*Receipt
	for _, r := range receipts {
		if !r.open {
			continue
		}
		if r.Deed.UntilCommit && committed(l.Run) {
			if err := run.Keep(r); err != nil {
				return nil, errors.Join(err, file.close())
			}
			continue
		}
		tried = append(tried, r)
		r.undo = func(ctx context.Context) error {
			undoer, ok := registry[r.Deed.Kind]
			if !ok {
				return fmt.Errorf("this holdstill does not know how to undo the kind %q", r.Deed.Kind)
			}
			return undoer(ctx, r.Deed)
		}
	}
	unwound := run.Unwind(ctx)
	var taken []Deed
	for _, r := range tried {
		if !r.open {
			taken = append(taken, r.Deed)
		}
	}
	return taken, errors.Join(unwound, run.End())
}

// Acknowledge forgets what could not be taken back: a person did it. A ledger that cannot be read is kept under another name.
func (l Left) Acknowledge() error {
	file, err := reopenLedger(l.path)
	if err == nil && l.Err != nil {
		err = os.Rename(l.path, l.path+".unreadable")
	} else if err == nil {
		err = os.Remove(l.path)
	}
	if err != nil {
		return fmt.Errorf("cannot acknowledge the run %s: %w", l.Run, err)
	}
	return errors.Join(file.close(), durable.SyncDir(filepath.Dir(l.path)))
}
