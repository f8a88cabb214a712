package swap

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/undo"
)

// The kinds of our deeds.
const (
	kindStage      = "swap.stage"
	kindSchema     = "swap.schema"
	kindSequence   = "swap.sequence"
	kindNear       = "swap.near"
	kindCheckpoint = "swap.checkpoint"
	kindSwap       = "swap.swap"
)

type stageArgs struct {
	Endpoint  database.Endpoint `json:"endpoint"`
	Run       string            `json:"run"`
	Schema    string            `json:"schema"`
	Datadir   string            `json:"datadir,omitempty"`
	Lent      []Lent            `json:"lent,omitempty"`
	LocalOnly bool              `json:"local_only,omitempty"`
}

type schemaArgs struct {
	Endpoint  database.Endpoint `json:"endpoint"`
	Run       string            `json:"run"`
	Schema    string            `json:"schema"`
	LocalOnly bool              `json:"local_only,omitempty"`
}

type nearArgs struct {
	Endpoint  database.Endpoint `json:"endpoint"`
	Run       string            `json:"run"`
	Table     schema.Name       `json:"table"`
	Staged    schema.Name       `json:"staged"` // where it came from
	LocalOnly bool              `json:"local_only,omitempty"`
}

type sequenceArgs struct {
	Endpoint  database.Endpoint `json:"endpoint"`
	Run       string            `json:"run"`
	Sequence  schema.Name       `json:"sequence"`
	LocalOnly bool              `json:"local_only,omitempty"`
}

type swapArgs struct {
	Endpoint  database.Endpoint `json:"endpoint"`
	Run       string            `json:"run"`
	Steps     []step            `json:"steps"`
	Code      []Code            `json:"code,omitempty"`
	Replaced  string            `json:"replaced,omitempty"` // file
	LocalOnly bool              `json:"local_only,omitempty"`
	Staging   stageArgs         `json:"staging"`
	Databases []string          `json:"databases,omitempty"` // that were made for it
	Sequences []schema.Name     `json:"sequences,omitempty"` // that are in their places before it
}

// comingUp is how long a later process waits for a server that starts at this moment.
const comingUp = 30 * time.Second

// Connect opens a pool to a server. It need not have connected yet.
type Connect func(context.Context, database.Endpoint) (*sql.DB, error)

// Undoers take back, in a later process, what a dead one did to a server.
func Undoers(connect Connect) undo.Registry {
	return undo.Registry{
		kindStage: undoer(connect, func(a stageArgs) (Live, string) {
			return Live{Endpoint: a.Endpoint, LocalOnly: a.LocalOnly}, a.Run
		}, dropStaging),
		kindSchema: undoer(connect, func(a schemaArgs) (Live, string) {
			return Live{Endpoint: a.Endpoint, LocalOnly: a.LocalOnly}, a.Run
		}, dropEmpty),
		kindNear: undoer(connect, func(a nearArgs) (Live, string) {
			return Live{Endpoint: a.Endpoint, LocalOnly: a.LocalOnly}, a.Run
		}, withdraw),
		kindSequence: undoer(connect, func(a sequenceArgs) (Live, string) {
			return Live{Endpoint: a.Endpoint, LocalOnly: a.LocalOnly}, a.Run
		}, dropSequence),
		kindCheckpoint: undoer(connect, func(a checkpointArgs) (Live, string) { return Live{Endpoint: a.Endpoint}, a.Run }, resetPages),
		kindSwap: undoer(connect, func(a swapArgs) (Live, string) {
			return Live{Endpoint: a.Endpoint, LocalOnly: a.LocalOnly}, a.Run
		}, finish),
	}
}

func undoer[A any](connect Connect, live func(A) (Live, string), do func(context.Context, *session, A) error) undo.Undoer {
	return func(ctx context.Context, d undo.Deed) error {
		var args A
		if err := json.Unmarshal(d.Args, &args); err != nil {
			return fmt.Errorf("cannot read the arguments of %s: %w", d.Kind, err)
		}
		l, run := live(args)
		db, err := connect(ctx, l.Endpoint)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		l.DB = db
		return withSession(ctx, l, run, func(s *session) error { return do(ctx, s, args) })
	}
}

func awaitServer(ctx context.Context, db *sql.DB) error {
	for end := time.Now().Add(comingUp); ; {
		err := db.PingContext(ctx)
		if err == nil || number(err) != 0 || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func withSession(ctx context.Context, l Live, run string, do func(*session) error) error {
	if err := awaitServer(ctx, l.DB); err != nil {
		return err
	}
	s, err := open(ctx, l, run)
	if err != nil {
		return err
	}
	defer s.close()
	return do(s)
}

// giveBack returns the lent tables that are there. One whose home has gone, or that was made there anew, is not wanted any more.
func giveBack(ctx context.Context, s *session, a stageArgs) error {
	var all []error
	for _, l := range a.Lent {
		staged := schema.Name{Database: a.Schema, Table: l.Staged}
		rows, err := s.ask(ctx, "SELECT 1 AS one FROM information_schema.TABLES AS t JOIN information_schema.SCHEMATA AS s ON s.SCHEMA_NAME = ? "+
			"WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?", l.Home.Database, staged.Database, staged.Table)
		if err != nil || len(rows) == 0 {
			all = append(all, err)
			continue
		}
		anew, err := s.there(ctx, l.Home)
		if err == nil && !anew {
			err = s.exec(ctx, "RENAME TABLE "+staged.SQL()+" TO "+l.Home.SQL())
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// dropStaging removes the staging with all that is in it, also the files that were laid there for an import that never came: no server
// removes those, and then not the directory. (MySQL 8 forgets the schema all the same, and does not take a DROP DATABASE after that.)
func dropStaging(ctx context.Context, s *session, a stageArgs) error {
	if a.Schema != StagingName(a.Run) {
		return fmt.Errorf("the schema %s is not the staging of %s", a.Schema, a.Run)
	}
	if err := giveBack(ctx, s, a); err != nil {
		return err
	}
	err := s.exec(ctx, "DROP DATABASE IF EXISTS "+schema.Quote(a.Schema))
	if a.Datadir == "" {
		return err
	}
	datadir, opening := os.OpenRoot(a.Datadir) // what a hijacked server has linked there does not lead us out of it
	if os.IsNotExist(opening) {
		return err
	}
	if opening != nil {
		return errors.Join(err, opening)
	}
	defer func() { _ = datadir.Close() }()
	dir := Directory(a.Schema)
	if _, gone := datadir.Lstat(dir); os.IsNotExist(gone) {
		return err
	}
	if err := removeFiles(datadir, dir); err != nil {
		return err
	}
	rows, err := s.ask(ctx, "SELECT 1 AS one FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = ?", a.Schema)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		err = s.exec(ctx, "DROP DATABASE "+schema.Quote(a.Schema))
	}
	if removing := datadir.Remove(filepath.Join(dir, "db.opt")); removing != nil && !os.IsNotExist(removing) || err != nil {
		return errors.Join(err, removing)
	}
	if err = datadir.Remove(dir); os.IsNotExist(err) {
		return nil
	}
	return err
}

// removeFiles removes the table files of a schema that is to go.
func removeFiles(datadir *os.Root, name string) error {
	dir, err := datadir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	found, err := fs.ReadDir(dir.FS(), ".")
	var all []error
	for _, f := range found {
		if f.Type().IsRegular() && f.Name() != "db.opt" {
			all = append(all, dir.Remove(f.Name()))
		}
	}
	return errors.Join(append(all, err)...)
}

// dropEmpty leaves a database that holds anything: it is somebody's only one.
func dropEmpty(ctx context.Context, s *session, a schemaArgs) error {
	for _, query := range []string{
		"SELECT 1 AS one FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? LIMIT 1",
		"SELECT 1 AS one FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ? LIMIT 1",
		"SELECT 1 AS one FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ? LIMIT 1",
	} {
		if rows, err := s.ask(ctx, query, a.Schema); err != nil || len(rows) > 0 {
			return err
		}
	}
	return s.exec(ctx, "DROP DATABASE IF EXISTS "+schema.Quote(a.Schema))
}

func dropSequence(ctx context.Context, s *session, a sequenceArgs) error {
	return s.exec(ctx, "DROP SEQUENCE IF EXISTS "+a.Sequence.SQL())
}

// withdraw brings a table that waits beside its target back to the staging, without its triggers.
func withdraw(ctx context.Context, s *session, a nearArgs) error {
	if !strings.HasPrefix(a.Table.Table, "holdstill_"+a.Run) {
		return fmt.Errorf("the table %s is not one of %s", a.Table, a.Run)
	}
	there, err := s.there(ctx, a.Table)
	if err != nil || !there {
		return err
	}
	triggers, err := Triggers(ctx, s.conn, a.Table)
	if err != nil {
		return err
	}
	for _, t := range triggers {
		if err := s.exec(ctx, dropTrigger(a.Table, t.Name)); err != nil {
			return err
		}
	}
	return s.exec(ctx, "RENAME TABLE "+a.Table.SQL()+" TO "+a.Staged.SQL())
}
