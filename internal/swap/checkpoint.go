package swap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// checkpointLimit is how long a server may take to write its changed pages.
const checkpointLimit = 10 * time.Minute

type checkpointArgs struct {
	Endpoint database.Endpoint `json:"endpoint"`
	Run      string            `json:"run"`
	Percent  string            `json:"percent"` // innodb_max_dirty_pages_pct
	Low      string            `json:"low"`     // innodb_max_dirty_pages_pct_lwm, which the server lowers with the other
}

// Imported says that MariaDB has taken over the files of a table. Swap then waits until the server has a checkpoint behind that: MariaDB gives an
// imported table the number that the empty one had, so a server that crashes before reads in its log how the empty one was made, and makes the
// table empty again once it has another name. (10.11.19 does, without a word; MySQL makes the checkpoint itself.)
func (s *Staging) Imported(ctx context.Context) (err error) {
	s.imported, err = s.session.lsn(ctx, "INNODB_LSN_CURRENT")
	return err
}

// checkpoint has the server write its changed pages, unless it has done so, and waits for it.
func (s *Staging) checkpoint(ctx context.Context) error {
	if done, err := s.beyond(ctx); s.imported == 0 || done || err != nil {
		return err
	}
	rows, err := s.session.ask(ctx, "SELECT @@GLOBAL.innodb_max_dirty_pages_pct AS percent, @@GLOBAL.innodb_max_dirty_pages_pct_lwm AS low")
	if err != nil {
		return err
	}
	args := checkpointArgs{Endpoint: s.live.Endpoint, Run: s.run.ID, Percent: rows[0]["percent"], Low: rows[0]["low"]}
	title, manual := "have the server write its changed pages", "SET GLOBAL innodb_max_dirty_pages_pct = "+args.Percent+"; (in the server)"
	_, receipt, err := undo.Do(ctx, s.run, undo.Step[struct{}]{
		Deed: s.deed(kindCheckpoint, "checkpoint", title, manual, args),
		Act: func(ctx context.Context) (struct{}, error) {
			if err := s.session.exec(ctx, "SET GLOBAL innodb_max_dirty_pages_pct = 0"); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, s.awaitCheckpoint(ctx)
		},
		Undo: func(ctx context.Context) error {
			return s.again(ctx, func(again *session) error { return resetPages(ctx, again, args) })
		},
	})
	if err != nil {
		return fmt.Errorf("the tables are complete, but a crash of the server would not keep them before its next checkpoint, and that cannot be had (--way load needs none): %w", err)
	}
	return s.run.Undo(ctx, receipt)
}

func (s *Staging) awaitCheckpoint(ctx context.Context) error {
	for end := time.Now().Add(checkpointLimit); ; {
		if done, err := s.beyond(ctx); done || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the server made none within %s", checkpointLimit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(between):
		}
	}
}

// beyond tells whether the last checkpoint is behind the last import.
func (s *Staging) beyond(ctx context.Context) (bool, error) {
	if s.imported == 0 {
		return true, nil
	}
	last, err := s.session.lsn(ctx, "INNODB_LSN_LAST_CHECKPOINT")
	return last >= s.imported, err
}

// lsn reads a position of InnoDB's log, in bytes.
func (s *session) lsn(ctx context.Context, name string) (uint64, error) {
	rows, err := s.ask(ctx, "SELECT VARIABLE_VALUE AS lsn FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = ?", name)
	if err == nil && len(rows) == 0 {
		err = errors.New("the server does not tell its " + name)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(rows[0]["lsn"], 10, 64)
}

func resetPages(ctx context.Context, s *session, a checkpointArgs) error {
	for name, value := range map[string]string{"innodb_max_dirty_pages_pct": a.Percent, "innodb_max_dirty_pages_pct_lwm": a.Low} {
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return fmt.Errorf("%s was %q: %w", name, value, err)
		}
	}
	return errors.Join(s.exec(ctx, "SET GLOBAL innodb_max_dirty_pages_pct = "+a.Percent), s.exec(ctx, "SET GLOBAL innodb_max_dirty_pages_pct_lwm = "+a.Low))
}
