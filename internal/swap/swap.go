// Package swap puts tables that are complete and checked in the place of those of a live server: in one statement, so that whoever asks
// sees the old ones or the new ones, never none, whenever we are killed.
//
// The new tables are made in a schema of their own, the staging, whose name holds the run's id. Swap then moves them all to their places
// with one RENAME TABLE, and those that were there to another schema, the aside, where they stay until a person drops it.
//
// A table with triggers cannot leave its schema, and the names of triggers are the schema's. So where there are some, the new table
// waits beside the old one, with its triggers under other names: the RENAME gives a table that has triggers from its first moment. They get
// their own names afterwards, while both tables are locked, and the old table, now without any, follows to the aside. Foreign keys to tables
// that stay are added after the RENAME, since rows in the staging must not hold up anybody's DELETE; for the same reason the
// tables in the aside lose theirs.
//
// What comes after the RENAME is the undo of its deed: done early after a good swap, and by recover after a kill. Whether there was a
// RENAME is told by a table of ours in the staging, the marker, which gets another name in the same statement, and which nothing else
// touches. From its promise on this deed answers for all that the run has made: its undo goes forward to the end, or back to the
// beginning, and drops the staging, with the marker, as its last act.
package swap

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/undo"
)

// Live is the server whose tables are swapped.
type Live struct {
	Instance string // what it is called; nobody works on it before what a dead run has left of a swap is taken back
	DB       *sql.DB
	Endpoint database.Endpoint // for a later process
	Replica  bool              // it follows a source
	// Datadir is its data directory where this process sees it; "" if it does not. Files that are left in the staging's directory are
	// removed there.
	Datadir string
	// LocalOnly keeps everything out of the server's binary log.
	LocalOnly bool
	// Patience is how long a table that others use is waited for, by many short waits; default one minute.
	Patience time.Duration
	// Hold keeps others from the server while tables change places, until the caller lets go of it: a backup must not cut in the middle.
	Hold func(context.Context) error
	// Replaced is the directory that gets a file, RUN.sql, of the views, routines and events that were replaced; "" keeps none.
	Replaced string
	Log      *slog.Logger
}

// Move is one new table and its place.
type Move struct {
	Staged   string      // its name in the staging
	Target   schema.Name // where it goes; what is there goes aside
	Triggers []Trigger   // that it shall have, in the order in which they act
	Keys     []Key       // its foreign keys, which it must not have yet; those to other tables of the swap name their targets
}

// Aside is an old table that a new one has replaced.
type Aside struct {
	Was schema.Name `json:"was"`
	Is  schema.Name `json:"is"`
}

// Result is what a swap did.
type Result struct {
	Aside   []Aside  `json:"aside"`
	Confirm string   `json:"confirm,omitempty"` // the statement that drops the old tables
	Back    []string `json:"back,omitempty"`    // the statements that put them back
	// Lost are foreign keys, as SQL, that the old tables had and do not have any more: to go back, add them.
	Lost []string `json:"lost_keys,omitempty"`
	// Code are the views, routines and events that were replaced by others, and CodeFile is a script for the server's client that brings them back.
	Code     []string `json:"replaced_code,omitempty"`
	CodeFile string   `json:"replaced_code_file,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// StagingName is the schema in which a run makes its tables, and AsideName that of the tables that it replaced.
func StagingName(run string) string { return "holdstill_new_" + run }

// AsideName is the schema that gets the tables that a run replaced.
func AsideName(run string) string { return "holdstill_old_" + run }

// Staging is the schema in which the new tables are made.
type Staging struct {
	Schema string

	run     *undo.Run
	live    Live
	session *session
	args    stageArgs
	// the position in InnoDB's log of the last import; 0: there was none
	imported uint64
	// what was made on the way, for which the swap answers in the end
	made      []*undo.Receipt
	databases []string
	sequences []schema.Name
}

// Lent is a table that waits for the swap in the staging, and goes back home if there is none.
type Lent struct {
	Staged string      `json:"staged"` // its name in the staging
	Home   schema.Name `json:"home"`
}

// InTheClear makes a database whose tables are encrypted only if they say so, whatever the server's default (MySQL): else a table that is not would not
// fit its files. MariaDB passes over it.
const InTheClear = " /*!80016 DEFAULT ENCRYPTION 'N' */"

// Stage makes the staging, and moves the tables there that are lent to it. Close it, also after an error and before the run is unwound.
func Stage(ctx context.Context, run *undo.Run, live Live, lent ...Lent) (*Staging, error) {
	s := &Staging{Schema: StagingName(run.ID), run: run, live: live}
	var err error
	if s.session, err = open(ctx, live, run.ID); err != nil {
		return nil, fmt.Errorf("cannot prepare the staging: %w", err)
	}
	s.args = stageArgs{Endpoint: live.Endpoint, Run: run.ID, Schema: s.Schema, Datadir: live.Datadir, LocalOnly: live.LocalOnly, Lent: lent}
	deed := s.deed(kindStage, "staging", "make the schema "+s.Schema, "DROP DATABASE "+schema.Quote(s.Schema)+"; (in the server)", s.args)
	statements := []string{"CREATE DATABASE " + schema.Quote(s.Schema) + InTheClear}
	if len(lent) > 0 {
		statements = append(statements, borrow(s.Schema, lent))
	}
	if err := s.make(ctx, deed, statements...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// make runs the statements that the deed promises to take back.
func (s *Staging) make(ctx context.Context, deed undo.Deed, statements ...string) error {
	_, receipt, err := undo.Do(ctx, s.run, undo.Step[struct{}]{Deed: deed, Act: func(ctx context.Context) (struct{}, error) {
		for _, statement := range statements {
			if err := s.session.exec(ctx, statement); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	}})
	if receipt != nil {
		s.made = append(s.made, receipt)
	}
	return err
}

// borrow is the statement that moves tables to the staging.
func borrow(staging string, lent []Lent) string {
	var pairs []string
	for _, l := range lent {
		pairs = append(pairs, l.Home.SQL()+" TO "+schema.Name{Database: staging, Table: l.Staged}.SQL())
	}
	return "RENAME TABLE " + strings.Join(pairs, ", ")
}

func (s *Staging) deed(kind, stage, title, manual string, args any) undo.Deed {
	d := undo.NewDeed(kind, stage, title, manual, args)
	d.Instance = s.live.Instance
	return d
}

// again is the session, or another one where it was closed after an error.
func (s *Staging) again(ctx context.Context, do func(*session) error) error {
	if s.session.conn != nil {
		return do(s.session)
	}
	return withSession(ctx, s.live, s.run.ID, do)
}

// Exec runs a statement with the staging's session: no foreign keys are checked, and tables that others use are waited for.
func (s *Staging) Exec(ctx context.Context, statement string) error {
	return s.session.exec(ctx, statement)
}

// Conn is the staging's session, for reading answers.
func (s *Staging) Conn() schema.Querier { return s.session.conn }

// Close lets go of the session. It may be called again.
func (s *Staging) Close() { s.session.close() }
