package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/extent"
	"github.com/holdstill/holdstill/internal/lab"
)

const (
	changedPercent = 4.0
	shipTables     = 4
	rowDigits      = 960 // a row: 80 groups of 11 digits, as sysbench makes them
	rowBytes       = rowDigits + 40
	pageBytes      = 16 << 10
)

// text appends groups of digits, which compress a bit more than 2:1.
func appendDigits(out []byte, random *rand.Rand, length int) []byte {
	for i := 0; i < length; i += 12 {
		for v, n := random.Uint64N(1e11), 0; n < 11; v, n = v/10, n+1 {
			out = append(out, byte('0'+v%10))
		}
		out = append(out, '-')
	}
	return out
}

// digits loads tables through the driver, some megabytes a transaction.
func digits(ctx context.Context, s *lab.Server, megabytes int) error {
	const batch = 32 * mib / rowBytes
	random := rand.New(rand.NewPCG(1, 2))
	rows := shipRows(megabytes)
	for table := range shipTables {
		if err := s.Exec(ctx, fmt.Sprintf("CREATE TABLE bench.ship%d (id BIGINT PRIMARY KEY, c VARCHAR(%d) NOT NULL) CHARACTER SET latin1", table, rowDigits)); err != nil {
			return err
		}
		for from := 1; from <= rows; from += batch {
			if err := loadRows(ctx, s, table, from, min(from+batch-1, rows), random); err != nil {
				return err
			}
		}
	}
	return nil
}

// shipRows are those of one table.
func shipRows(megabytes int) int { return megabytes * mib / rowBytes / shipTables }

func loadRows(ctx context.Context, s *lab.Server, table, from, to int, random *rand.Rand) error {
	var text []byte
	for id := from; id <= to; id++ {
		text = fmt.Appendf(text, "%d\t", id)
		text = append(appendDigits(text, random, rowDigits), '\n')
	}
	mysql.RegisterReaderHandler("rows", func() io.Reader { return bytes.NewReader(text) })
	defer mysql.DeregisterReaderHandler("rows")
	return s.Exec(ctx, "SET SESSION sql_log_bin = 0",
		fmt.Sprintf("LOAD DATA LOCAL INFILE 'Reader::rows' INTO TABLE bench.ship%d", table), "SET SESSION sql_log_bin = 1")
}

// change updates rows by their keys, drawn by chance: as many as the percentage of the pages, so that nearly each hits another page.
func change(ctx context.Context, s *lab.Server, megabytes int) error {
	db, err := s.DB()
	if err != nil {
		return err
	}
	defer db.Close()
	random := rand.New(rand.NewPCG(3, 4))
	left := int(float64(megabytes) * mib / pageBytes * changedPercent / 100)
	for left > 0 {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for range min(left, 500) {
			text := appendDigits(nil, random, rowDigits)
			statement := fmt.Sprintf("UPDATE bench.ship%d SET c = ? WHERE id = ?", random.IntN(shipTables))
			if _, err := tx.ExecContext(ctx, statement, text, 1+random.IntN(shipRows(megabytes))); err != nil {
				return errors.Join(err, tx.Rollback())
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		left -= 500
	}
	return nil
}

// checkpoint waits until the changes are in the tables' files, where a snapshot's archiver finds them, and not in the log alone.
func checkpoint(ctx context.Context, s *lab.Server) error {
	if err := s.Exec(ctx, "SET GLOBAL innodb_io_capacity_max = 4000", "SET GLOBAL innodb_io_capacity = 4000", "SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0", "SET GLOBAL innodb_max_dirty_pages_pct = 0", "FLUSH TABLES"); err != nil {
		return err
	}
	for range 600 {
		dirty, err := s.Value(ctx, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'")
		if err != nil || dirty == "0" {
			return err
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("the server did not write its pages within five minutes")
}

// difference is what changed from one snapshot to the next, in bytes.
type difference struct {
	rewritten int64 // as the extent maps tell: what lies in another place now
	differing int64 // as a comparison of the bytes tells, in blocks of 4 KiB: of a page that was rewritten some are the same as before
}

// compare reads both snapshots whole. What belongs to the process that ran is left out, as nobody restores it.
func compare(was, now string) (difference, error) {
	var d difference
	err := filepath.WalkDir(now, func(path string, e fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(now, path)
		if err = errors.Join(err, relErr); err != nil || !e.Type().IsRegular() || database.Transient(name) {
			return err
		}
		one, err := compareFile(filepath.Join(was, name), path)
		d.rewritten += one.rewritten
		d.differing += one.differing
		return err
	})
	return d, err
}

func compareFile(was, now string) (d difference, err error) {
	b, err := os.Open(now)
	if err != nil {
		return d, err
	}
	defer b.Close()
	a, err := os.Open(was)
	if errors.Is(err, fs.ErrNotExist) {
		info, err := b.Stat()
		return difference{info.Size(), info.Size()}, err
	}
	if err != nil {
		return d, err
	}
	defer a.Close()
	changed, err := extent.Changed(a, b)
	if err != nil {
		return d, err
	}
	d.rewritten = extent.Total(changed)
	d.differing, err = differing(a, b)
	return d, err
}

// differing counts the blocks that are not the same.
func differing(a, b io.ReaderAt) (count int64, err error) {
	const block, piece = 4096, 1 << 20
	was, now := make([]byte, piece), make([]byte, piece)
	for at := int64(0); ; at += piece {
		n, err := b.ReadAt(now, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return count, err
		}
		m, wasErr := a.ReadAt(was, at)
		if wasErr != nil && !errors.Is(wasErr, io.EOF) {
			return count, wasErr
		}
		clear(was[m:]) // behind its end a file reads as zeros, also when it grew by preallocated space
		for from := 0; from < n; from += block {
			end := min(from+block, n)
			if !bytes.Equal(was[from:end], now[from:end]) {
				count += int64(end - from)
			}
		}
		if n < piece {
			return count, nil
		}
	}
}
