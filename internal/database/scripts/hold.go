package scripts

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/undo"
)

// hold keeps an application still between its pre and its post scripts.
type hold struct {
	server *Server
	record *record // nil: nothing was started
	sides  []*side

	mu     sync.Mutex
	window database.Window
	unheld error
}

var (
	_ database.Hold     = (*hold)(nil)
	_ database.Reporter = (*hold)(nil)
)

// ConnectionID is 0: there is no connection.
func (*hold) ConnectionID() uint64 { return 0 }

// Channels are none.
func (*hold) Channels() []database.Channel { return nil }

// Approach says what will be run: nothing is said in the window.
func (h *hold) Approach(context.Context) error {
	for _, s := range h.sides {
		h.server.log.Info("PRE: run "+s.plugin.pre.path, "plugin", s.name, "timeout", s.timeout)
	}
	return nil
}

// Window tells when the first pre began, when the last had ended, and when the last post had.
func (h *hold) Window() database.Window {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.window
}

func (h *hold) moment(at func(*database.Window) *time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*at(&h.window) = time.Now()
}

// Report tells how each script ended.
func (h *hold) Report() database.Report {
	r := database.Report{Unheld: h.unheld}
	for _, s := range h.sides {
		for _, t := range []*tried{s.pre, s.post} {
			if t != nil {
				r.Scripts = append(r.Scripts, t.run)
			}
		}
	}
	return r
}

// Step runs all pre scripts at once; its undo runs the posts of those that were started. The budget is not the scripts': each has the
// time that its configuration gives it.
func (h *hold) Step(database.Budget) undo.Step[database.Position] {
	a := args{Boot: undo.BootID(), Record: filepath.Join(h.server.spec.RunDir, h.server.token+suffix)}
	var title, manual []string
	limit := time.Duration(0)
	for _, s := range h.sides {
		a.Plugins = append(a.Plugins, promised{Name: s.name, Config: s.config, Post: s.plugin.post.path, Most: h.server.most(s.plugin)})
		title = append(title, s.plugin.pre.path)
		manual = append(manual, s.plugin.post.byHand(s.config))
		limit = max(limit, s.timeout)
	}
	deed := undo.NewDeed(Kind, "hold", "hold the application with "+strings.Join(title, " and "), strings.Join(manual, "; "), a)
	deed.Limit = 2*limit + 2*(grace+deathLimit) + time.Minute // a post that still runs may have to end first
	return undo.Step[database.Position]{
		Deed: deed,
		Act: func(ctx context.Context) (database.Position, error) {
			return database.Position{}, h.still(ctx, a.Record)
		},
		Undo: h.release,
	}
}

// byHand is what an operator would type. The parameters are left out, as they may hold passwords.
func (s script) byHand(config string) string {
	argv, err := s.command()
	if err != nil {
		argv = []string{"sh", s.path}
	}
	line := strings.Join(argv[:len(argv)-len(s.params)], " ")
	if len(s.params) > 0 {
		line += " # with the postScriptParams of " + config
	}
	return line
}

func (h *hold) still(ctx context.Context, path string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if h.record, err = newRecord(path, len(h.sides)); err != nil {
		return err
	}
	for i, s := range h.sides {
		s.note = h.record.Plugins[i]
	}
	h.moment(func(w *database.Window) *time.Time { return &w.Asked })
	h.each(func(s *side) { s.before(ctx) })
	h.moment(func(w *database.Window) *time.Time { return &w.Held })
	if err := h.judge(ctx); err != nil {
		return err
	}
	// What the scripts made the application write has to be in a cut that freezes nothing, and makes a freeze short.
	for _, path := range h.server.spec.Paths {
		if err := mount.SyncFS(path); err != nil {
			return err
		}
	}
	return nil
}

// judge tells whether the cut may go on: all pres succeeded, or those that did not may fail.
func (h *hold) judge(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var fatal, forgiven []error
	for _, s := range h.sides {
		switch {
		case s.pre.err == nil:
		case s.goesOn && s.pre.stuck == 0:
			forgiven = append(forgiven, s.pre.err)
		default:
			fatal = append(fatal, s.pre.err)
		}
	}
	if len(fatal) > 0 {
		return fmt.Errorf("cannot hold the application: %w", joined(append(fatal, forgiven...)))
	}
	h.unheld = joined(forgiven)
	return nil
}

// each does something for all plugins at once.
func (h *hold) each(do func(*side)) {
	var all sync.WaitGroup
	for _, s := range h.sides {
		all.Go(func() { do(s) })
	}
	all.Wait()
}

// release is the undo: the posts of all pres that were started, whatever became of them. A post that failed is tried again by the next
// undo; those that succeeded are not.
func (h *hold) release(ctx context.Context) error {
	if h.record == nil {
		return nil
	}
	h.each(func(s *side) { s.after(ctx) })
	h.moment(func(w *database.Window) *time.Time { return &w.Released })
	h.tell()
	failed, fatal := []error{}, false
	for _, s := range h.sides {
		if s.post != nil && s.post.err != nil {
			failed, fatal = append(failed, s.post.err), fatal || !s.goesOn
		}
	}
	switch {
	case len(failed) == 0:
		return h.over()
	case fatal:
		return joined(failed)
	}
	return fmt.Errorf("%w: %w", database.ErrStillHeld, joined(failed))
}

func (h *hold) over() error {
	if err := h.record.remove(); err != nil {
		return fmt.Errorf("the posts were run, but that cannot be noted: %w", err)
	}
	h.record = nil
	return nil
}

// tell logs what the scripts said, now that nothing is held any more.
func (h *hold) tell() {
	for _, s := range h.sides {
		for _, t := range []*tried{s.pre, s.post} {
			if t != nil {
				t.tell(h.server.log)
			}
		}
	}
}

// Close stops listening to what the scripts left running.
func (h *hold) Close() error {
	for _, s := range h.sides {
		for _, t := range []*tried{s.pre, s.post} {
			if t == nil {
				continue
			}
			for _, o := range t.outputs {
				o.close()
			}
		}
	}
	return nil
}
