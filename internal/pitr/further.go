package pitr

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
)

// LostError is a copy that cannot be taken further, whatever one does.
type LostError struct{ text, hint string }

func (e *LostError) Error() string { return e.text }

// Hint says what there is instead.
func (e *LostError) Hint() string { return e.hint }

func (s *State) lost(format string, args ...any) error {
	return &LostError{
		fmt.Sprintf("the copy %s cannot be taken further: %s", s.Datadir, fmt.Sprintf(format, args...)),
		fmt.Sprintf("make it anew: remove %s, and restore point %s to the moment that you want", s.Datadir, s.Point.ID),
	}
}

// Untouched makes sure that nothing but replays has written to a copy since its state was noted, as far as its files tell; with GTIDs its server is
// asked, too, when it runs.
func (s *State) Untouched() error {
	n, err := ownSince(s.Datadir, s.Own)
	switch {
	case errors.Is(err, errOwnHidden) && s.Stands.GTID != "":
		return nil
	case err != nil:
		return fmt.Errorf("cannot tell whether the copy %s was written to: %w", s.Datadir, err)
	case n > 0:
		return s.lost("it was written to since it was restored: its own binary log has %d transactions behind %s:%d", n, s.Own.File, s.Own.Offset)
	}
	return nil
}

// Further is the replay of a way by which a copy is taken further. That one is under way is noted before it begins, so that a copy is known for what it is
// if we are killed.
func Further(state *State, way *Way, deps restore.Deps, moment *Moment) *restore.Onward {
	r := newReplay(way, deps, moment)
	r.state = state
	out := &restore.Onward{Args: furtherArgs(), Do: r.do, Note: func(j *restore.Job) error {
		r.job = j
		return r.note(state)
	}}
	if way.Applied == 0 {
		out.Do = func(ctx context.Context, j *restore.Job, db *sql.DB) error {
			r.job, r.db, r.dialect = j, db, dialectOf(j.Plan.Server, false)
			return errors.Join(r.stands(ctx), r.clear(ctx), r.tellPosition(ctx))
		}
	}
	return out
}

// furtherArgs are as for a new copy, but that what is committed survives the death of the server, though not of the machine.
func furtherArgs() []string {
	return slices.Concat(bootArgs, []string{"--innodb-flush-log-at-trx-commit=2"})
}

// going notes that the copy is no longer where its state says.
func (r *replay) going() error {
	if r.state == nil {
		return nil // of a new copy: it goes if we are killed
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	r.state.Going = &Going{Boot: boot, Since: time.Now().UTC(), Wanted: r.moment.Wanted, LeftOut: r.way.Target.Skip, Nameless: r.way.Nameless, Applied: r.applied}
	return r.state.Write(r.job.Plan.Request.ConfigDir)
}

// Settled finds out where a copy stands whose replay was cut off: what its server has executed, where that can be relied on. Else it says why the copy
// is lost.
func (s *State) Settled(ctx context.Context, configDir string) (*restore.Onward, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	lost := func(why string) error {
		return s.lost("a replay to %s was cut off, and %s", s.Going.Wanted, why)
	}
	v := restore.ParseVersion(s.Point.Server.Version)
	mariadb := s.Point.Server.Product == database.MariaDB
	switch {
	case boot != s.Going.Boot:
		return nil, lost("the machine went down, with what was not synced yet")
	case s.Stands.GTID == "" || s.Going.Nameless:
		return nil, lost("without GTIDs nothing tells which transactions it has")
	case mariadb && !v.AtLeast(10, 6, 0) || !mariadb && !v.AtLeast(8, 0, 0):
		return nil, lost("definitions of tables are not made at once or not at all by this version, " + s.Point.Server.Version)
	}
	do := func(ctx context.Context, j *restore.Job, db *sql.DB) error {
		tables, err := otherEngines(ctx, db)
		if err == nil && len(tables) > 0 {
			err = lost(fmt.Sprintf("it has tables without transactions (%s), in which a part of one may be", strings.Join(tables, ", ")))
		}
		if err != nil {
			return err
		}
		r := &replay{way: &Way{From: s.Stands}, job: j, db: db, dialect: dialectOf(j.Plan.Server, false), applied: s.Going.Applied}
		if err := r.clear(ctx); err != nil {
			return err
		}
		if err := r.putBackApplied(ctx); err != nil {
			return err
		}
		s.Stands.Partly, s.Stands.LeftOut = true, append(s.Stands.LeftOut, s.Going.LeftOut...)
		if s.Stands.GTID, err = executedBy(ctx, j, db); err != nil {
			return err
		}
		s.Own, err = r.position(ctx)
		return err
	}
	return &restore.Onward{Args: furtherArgs(), Do: do, Note: func(*restore.Job) error {
		s.Stopped, s.Going = "it was cut off", nil
		return s.Write(configDir)
	}}, nil
}

// clear takes away what a replay that was cut off has left: its channel and its relay logs.
func (r *replay) clear(ctx context.Context) error {
	left, err := r.leftFiles()
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	if rows, err := restore.Rows(ctx, r.db, r.dialect.status); err == nil && len(rows) > 0 {
		if err := r.exec(ctx, r.dialect.reset); err != nil {
			return err
		}
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot remove what an earlier replay left: %w", err)
		}
	}
	return nil
}

// leftFiles are relay logs of our channel, and what describes it.
func (r *replay) leftFiles() ([]string, error) {
	dir := r.job.Plan.Request.Datadir
	names, err := fs.Glob(os.DirFS(dir), "*-"+channel+".*")
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names, err
}
