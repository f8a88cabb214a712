package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// State is a log, and what else is known of its end.
type State struct {
	Log
	// Broken is why nothing follows on this log although the server is the same: it was found to hold something else.
	Broken string `json:"broken,omitempty"`
	// Short tells that more of an open log was synced than can be read now: it is damaged here, and nothing is known of what is behind Size.
	Short bool `json:"-"`
}

// Watch looks at an archive again and again, while an archiver writes to it, without reading anything twice.
type Watch struct {
	dir   string
	open  *entry   // the log that was open at the last look
	file  *os.File // of it
	scan  *scanner
	short bool // it cannot be read as far as it is synced
}

// Watch begins to look. Close ends it.
func (a *Archive) Watch() *Watch { return &Watch{dir: a.dir} }

// After tells the logs behind the place seq, as far as they are synced now.
func (w *Watch) After(seq int) ([]State, error) {
	names, err := entryNames(w.dir)
	if err != nil {
		return nil, err
	}
	var out []State
	for _, name := range names {
		if n, err := strconv.Atoi(name[:min(8, len(name))]); err == nil && n <= seq {
			continue
		}
		e, err := readEntry(filepath.Join(w.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, err
		}
		short := false
		if !e.Closed {
			if e, err = w.grown(e); err != nil {
				return nil, err
			}
			short = w.short
		}
		out = append(out, State{e.Log, e.Broken, short})
	}
	return out, nil
}

// grown is an open log with what arrived since it was last looked at. The scanner is kept: in the middle of a transaction a description does not
// tell all that it knows.
func (w *Watch) grown(e *entry) (*entry, error) {
	if w.open == nil || w.open.Seq != e.Seq || w.open.Head != e.Head {
		w.Close()
		var err error
		if w.file, w.scan, err = e.open(w.dir); errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
			w.short = true
			return e, nil
		} else if err != nil {
			return nil, err
		}
		w.open = e
	}
	now := *w.open
	w.short = false
	if limit, ok := readMark(w.dir, e); ok && limit > w.scan.at {
		if err := w.scan.read(w.file, limit); err != nil && !errors.Is(err, errDamaged) {
			return nil, err
		}
		w.short = w.scan.at < limit
	}
	w.scan.tell(&now)
	w.open = &now
	copied := now
	return &copied, nil
}

// Close lets go of the files.
func (w *Watch) Close() {
	if w.file != nil {
		_ = w.file.Close()
	}
	w.open, w.file, w.scan = nil, nil, nil
}

// Follows tells whether a log follows directly on another one by what both say of themselves: "" if it does, else why it may not.
func Follows(before, next Log) string {
	lost, err := missing(next.GTIDBefore, before.GTIDAfter)
	if err != nil {
		return err.Error()
	}
	again, err := missing(before.GTIDAfter, next.GTIDBefore)
	same := sameServer(before.Server, next.Server)
	switch {
	case err != nil:
		return err.Error()
	case lost != "":
		return fmt.Sprintf("transactions are missing that %s begins with: %s", next.Name, lost)
	case same && again != "":
		return fmt.Sprintf("%s begins without transactions that %s has", next.Name, before.Name)
	case same && before.Closed && successor(before.Name) == next.Name:
		return ""
	case same && before.GTIDBefore != before.GTIDAfter, !same && before.GTIDAfter != "": // it has GTIDs, and they meet
		return ""
	}
	return fmt.Sprintf("nothing tells whether %s follows on %s", next.Name, before.Name)
}
