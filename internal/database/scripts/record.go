package scripts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/undo"
)

// record is what was started, for a later process: a file in the run directory, made before the first script starts and removed when
// the last post is over. So a hold whose record is gone, in the same boot, never began or was taken back.
type record struct {
	Boot    string   `json:"boot"`
	Plugins []*entry `json:"plugins"`

	path string
	mu   sync.Mutex
}

// entry is one plugin's part.
type entry struct {
	Pre    *service.Process `json:"pre,omitempty"` // of the last try; nil: it never began
	Post   *service.Process `json:"post,omitempty"`
	Killed bool             `json:"killed,omitempty"` // the pre's group was being killed
	Done   bool             `json:"done,omitempty"`   // the post succeeded

	of *record
}

func newRecord(path string, plugins int) (*record, error) {
	r := &record{Boot: undo.BootID(), path: path}
	for range plugins {
		r.Plugins = append(r.Plugins, &entry{of: r})
	}
	return r, r.write()
}

// readRecord returns nil if there is none.
func readRecord(path string) (*record, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	r := &record{path: path}
	if err == nil {
		err = json.Unmarshal(content, r)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was started: %w", err)
	}
	for _, e := range r.Plugins {
		e.of = r
	}
	return r, nil
}

// write replaces the file. It need not survive a crash of the machine, after which nothing of it is true any more.
func (r *record) write() error {
	content, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(r.path+".new", content, 0o600)
	}
	if err == nil {
		err = os.Rename(r.path+".new", r.path)
	}
	if err != nil {
		return fmt.Errorf("cannot note what is started: %w", err)
	}
	return nil
}

func (r *record) remove() error {
	for _, path := range []string{r.path + ".new", r.path} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (e *entry) change(how func()) error {
	e.of.mu.Lock()
	defer e.of.mu.Unlock()
	how()
	return e.of.write()
}

func (e *entry) began(phase string, p service.Process) error {
	return e.change(func() {
		if phase == pre {
			e.Pre, e.Killed = &p, false
		} else {
			e.Post = &p
		}
	})
}

func (e *entry) killing(phase string) error {
	return e.change(func() { e.Killed = e.Killed || phase == pre })
}

func (e *entry) done() error { return e.change(func() { e.Done = true }) }
