package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/fatih/color"

	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/wire"
)

// shownStore is a repository as commands print it.
type shownStore struct {
	repository.Status
	Sources  []shownSource `json:"sources"`
	Imported *int          `json:"imported,omitempty"` // points that the catalogue did not know
	Before   string        `json:"before,omitempty"`   // the repository that this machine was connected to
	Warnings []string      `json:"warnings"`
}

// shownSource are the points of an instance of a machine.
type shownSource struct {
	Host     string    `json:"host"`
	Instance string    `json:"instance"`
	Points   int       `json:"points"`
	Oldest   time.Time `json:"oldest,omitzero"`
	Newest   time.Time `json:"newest,omitzero"`
	Logs     int       `json:"logs"`      // binary logs
	LogBytes int64     `json:"log_bytes"` // of them, before they are compressed
	LogsTo   time.Time `json:"logs_to,omitzero"`
}

func (a *app) describeStore(ctx context.Context, store repository.Store) (*shownStore, error) {
	status, err := store.Status(ctx)
	if err != nil {
		return nil, err
	}
	points, err := store.Points(ctx)
	if err != nil {
		return nil, err
	}
	logs, err := offsite.List(ctx, store, "", "")
	if err != nil && logs == nil {
		return nil, err
	}
	shown := &shownStore{Status: status, Sources: sources(points, logs), Warnings: []string{}}
	if err != nil {
		shown.Warnings = append(shown.Warnings, err.Error())
	}
	if c, err := a.written(); err == nil {
		if r, err := wire.RepositoryOf(c, a.dirs); err == nil && r.ObjectLock.Mode != "" && status.Lock == "" {
			shown.Warnings = append(shown.Warnings, "it was made without an object lock: what object_lock says is for a new repository only")
		}
	}
	return shown, nil
}

// sources groups points and logs, which come oldest first.
func sources(points []repository.Stored, logs []offsite.Stored) []shownSource {
	out := []shownSource{}
	of := func(d repository.Description) *shownSource {
		i := slices.IndexFunc(out, func(s shownSource) bool { return s.Host == d.Host && s.Instance == d.Instance })
		if i < 0 {
			i = len(out)
			out = append(out, shownSource{Host: d.Host, Instance: d.Instance})
		}
		return &out[i]
	}
	for _, p := range points {
		s := of(p.Description)
		if s.Points++; s.Points == 1 {
			s.Oldest = p.TakenAt
		}
		s.Newest = p.TakenAt
	}
	for _, l := range logs {
		s := of(l.In.Description)
		s.Logs++
		s.LogBytes += l.Size
		if l.Last.After(s.LogsTo) {
			s.LogsTo = l.Last
		}
	}
	return out
}

func (a *app) printStore(s *shownStore, title string) error {
	if a.json {
		return a.printJSON(s)
	}
	w := a.stdout
	heading(w, title)
	t := newTable(w)
	t.row("location", printable(s.Location))
	t.row("format", s.Format)
	t.row("holds", fmt.Sprintf("%d points, %d binary logs, %s in %d blobs", s.Points, s.Logs, humanize.IBytes(uint64(s.Bytes)), s.Blobs))
	if s.Capacity > 0 {
		t.row("free", fmt.Sprintf("%s of %s", humanize.IBytes(uint64(s.Free)), humanize.IBytes(uint64(s.Capacity))))
	}
	if !s.Maintained.IsZero() {
		t.row("maintained", s.Maintained.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if s.Lock != "" {
		t.row("object lock", s.Lock)
	}
	if s.Before != "" {
		t.row("instead of", s.Before)
	}
	t.flush()
	a.printSources(s.Sources)
	printWarnings(w, s.Warnings)
	return nil
}

func (a *app) printSources(all []shownSource) {
	if len(all) == 0 {
		return
	}
	t := newTable(a.stdout)
	t.row("HOST", "INSTANCE", "POINTS", "OLDEST (UTC)", "NEWEST (UTC)", "LOGS", "BYTES", "UP TO (UTC)")
	form := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format(toMinute)
	}
	for _, s := range all {
		t.row(printable(s.Host), printable(s.Instance), fmt.Sprint(s.Points), form(s.Oldest), form(s.Newest), fmt.Sprint(s.Logs), humanize.IBytes(uint64(s.LogBytes)), form(s.LogsTo))
	}
	t.flush()
}

// warnOfPassword is said once, when it can still be heeded.
func (a *app) warnOfPassword() {
	if !a.json {
		fmt.Fprintln(a.stdout, color.YellowString(`Without its password nothing in this repository can ever be read again, by anybody.
Write it down now, and keep it where this machine's end does not reach: not here, and not in the repository.`))
	}
}

// errDamages is the outcome of a check: the damages themselves were printed.
var errDamages = errors.New("what is stored is damaged")

func (a *app) checkRepository(ctx context.Context, store repository.Store, args []string, read float64) error {
	o := repository.CheckOptions{Read: read}
	if len(args) > 0 {
		stored, err := a.storedPoint(ctx, store, args[0])
		if err != nil {
			return err
		}
		o.Point = stored.Point
	}
	if !a.json && isTerminal(a.stderr) {
		last := time.Time{}
		o.Progress = func(files int) {
			if time.Since(last) > 100*time.Millisecond {
				last = time.Now()
				fmt.Fprintf(a.stderr, "\rfiles: %d ", files)
			}
		}
		defer fmt.Fprint(a.stderr, "\r\033[K")
	}
	health, err := store.Check(ctx, o)
	if err != nil {
		return err
	}
	return a.printHealth(health)
}

func (a *app) printHealth(h repository.Health) error {
	if a.json {
		if err := a.printJSON(h); err != nil {
			return err
		}
	} else {
		for _, d := range h.Damages {
			what := "point " + d.Point
			if d.Log != "" {
				what = "binary log " + d.Log
			}
			fmt.Fprintln(a.stdout, color.RedString("damaged")+fmt.Sprintf(": %s: %s: %s", what, printable(d.File), printable(d.Text)))
		}
		fmt.Fprintf(a.stdout, "looked at %d points, %d binary logs, %d files; read %s\n", h.Points, h.Logs, h.Files, humanize.IBytes(uint64(h.Bytes)))
	}
	if len(h.Damages) > 0 {
		return fmt.Errorf("%w in %d places", errDamages, len(h.Damages))
	}
	return a.saySound(h)
}

func (a *app) saySound(h repository.Health) error {
	if a.json {
		return nil
	}
	_, err := fmt.Fprintln(a.stdout, color.GreenString("no damage found"))
	return err
}

// storedPoint finds a point of the repository, by the names that the catalogue knows, or by its id, if the catalogue was lost.
func (a *app) storedPoint(ctx context.Context, store repository.Store, name string) (repository.Stored, error) {
	id := name
	if p, err := a.catalogue().Find(name, ""); err == nil {
		id = p.ID
	}
	return wire.FindStored(ctx, store, id)
}
