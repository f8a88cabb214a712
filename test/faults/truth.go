package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
)

// truth is which row was committed at which position, read from the binary log's files of the writers' server.
type truth struct {
	server *lab.Server
	read   map[string]int64 // how far each file is known, in bytes
	rows   map[string][]committed
}

// committed is a writer's row and where its event ends.
type committed struct {
	id  int64
	end int64
	seq int64 // the number of its GTID
}

// until lists the ids of all rows that are committed before the position. What has been read stays in memory.
func (t *truth) until(file string, offset int64) (map[int64]bool, error) {
	names, err := filepath.Glob(filepath.Join(t.server.Datadir, "binlog.[0-9]*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names) // a campaign makes fewer than a million
	ids := map[int64]bool{}
	for _, name := range names {
		if filepath.Base(name) > file {
			break
		}
		if err := t.readOn(name); err != nil {
			return nil, err
		}
		for _, c := range t.rows[name] {
			if filepath.Base(name) < file || c.end <= offset {
				ids[c.id] = true
			}
		}
	}
	return ids, nil
}

// untilGTID lists the ids of all rows that a GTID position covers.
func (t *truth) untilGTID(gtid string) (map[int64]bool, error) {
	covers, err := t.covers(gtid)
	if err != nil {
		return nil, fmt.Errorf("the GTID position %q: %w", gtid, err)
	}
	if _, err := t.until("binlog.999999", 0); err != nil {
		return nil, err
	}
	ids := map[int64]bool{}
	for _, rows := range t.rows {
		for _, c := range rows {
			if covers(c.seq) {
				ids[c.id] = true
			}
		}
	}
	return ids, nil
}

// covers reads MariaDB's position, DOMAIN-SERVER-NUMBER of the one domain that there is, or MySQL's set.
func (t *truth) covers(gtid string) (func(int64) bool, error) {
	if t.server.Build.Product == lab.MariaDB {
		last, err := strconv.ParseInt(gtid[strings.LastIndexByte(gtid, '-')+1:], 10, 64)
		return func(n int64) bool { return n <= last }, err
	}
	set, err := mysql.ParseMysqlGTIDSet(gtid)
	if err != nil {
		return nil, err
	}
	uuid, err := t.server.Value(context.Background(), "SELECT @@global.server_uuid")
	if err != nil {
		return nil, err
	}
	return func(n int64) bool {
		one, err := mysql.ParseMysqlGTIDSet(fmt.Sprintf("%s:%d", uuid, n))
		return err == nil && set.Contain(one)
	}, nil
}

// readOn reads what was appended to the file. The end of a live file may be half an event: that is read the next time.
func (t *truth) readOn(name string) error {
	if t.read == nil {
		t.read, t.rows = map[string]int64{}, map[string][]committed{}
	}
	parser := replication.NewBinlogParser()
	parser.SetFlavor(mysql.MySQLFlavor)
	if t.server.Build.Product == lab.MariaDB {
		parser.SetFlavor(mysql.MariaDBFlavor)
	}
	var seq int64
	var pending []int64 // of the transaction under way: its rows count once it is committed
	err := parser.ParseFile(name, max(t.read[name], 4), func(e *replication.BinlogEvent) error {
		switch event := e.Event.(type) {
		case *replication.RowsEvent:
			if string(event.Table.Schema) == "sampledb" && string(event.Table.Table) == "sampletable" {
				for _, row := range event.Rows {
					pending = append(pending, row[0].(int64))
				}
			}
		case *replication.MariadbGTIDEvent:
			seq = int64(event.GTID.SequenceNumber)
		case *replication.GTIDEvent:
			seq = event.GNO
		case *replication.XIDEvent:
			for _, id := range pending {
				t.rows[name] = append(t.rows[name], committed{id, int64(e.Header.LogPos), seq})
			}
			pending = nil
			t.read[name] = int64(e.Header.LogPos)
		}
		return nil
	})
	if err != nil && !strings.Contains(err.Error(), "EOF") {
		return fmt.Errorf("cannot read the binary log %s: %w", name, err)
	}
	return nil
}

// exact restores a point that claims to be application-consistent, and compares its rows with the truth: those committed before
// the position, no more and no fewer.
func (w *world) exact(p *catalog.Point) (lost, invented int, err error) {
	want, err := w.promised(p)
	if err != nil {
		return 0, 0, err
	}
	got, err := w.restored(p)
	if err != nil {
		return 0, 0, err
	}
	for id := range want {
		if !got[id] {
			lost++
		}
	}
	for id := range got {
		if !want[id] {
			invented++
		}
	}
	return lost, invented, nil
}

// promised lists the rows that the point's position stands for. A replica's are its source's up to a GTID. File and offset would not
// do: MariaDB's lag for a moment after a crash of the replica, and MySQL's while a parallel applier runs.
func (w *world) promised(p *catalog.Point) (map[int64]bool, error) {
	switch {
	case w.origin == w.subject:
		return w.truth.until(p.Position.File, int64(p.Position.Offset))
	case len(p.Sources) != 1:
		return nil, fmt.Errorf("the point %s tells %d sources", p.ID, len(p.Sources))
	}
	return w.truth.untilGTID(p.Sources[0].GTID)
}

// restored restores the point with the program, reads the rows of the server that it starts, and removes it.
func (w *world) restored(p *catalog.Point) (_ map[int64]bool, err error) {
	disk := w.volume
	if w.outer != nil {
		disk = w.outer
	}
	target := filepath.Join(disk.Dir, "restored")
	r, err := w.holdstill(3*time.Minute, "--json", "restore", p.ID, "--datadir", target, "--start")
	if err != nil {
		return nil, err
	}
	if r.code != 0 {
		return nil, fmt.Errorf("the restore of %s ended with %d:\n%s", p.ID, r.code, r.said())
	}
	var started struct {
		PID    int    `json:"pid"`
		Socket string `json:"socket"`
	}
	if err := json.Unmarshal([]byte(r.read("stdout")), &started); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.removeRestored(started.PID, target)) }()
	config := driver.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", started.Socket
	connector, err := driver.NewConnector(config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	return ids(w.ctx, db)
}

func (w *world) removeRestored(pid int, target string) error {
	_ = syscall.Kill(pid, syscall.SIGKILL)
	err := within(20*time.Second, func() error {
		if tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); err == nil && len(tasks) > 1 {
			return fmt.Errorf("the restored server, process %d, does not end", pid)
		}
		return nil
	})
	if w.outer == nil && tool("btrfs", "subvolume", "delete", target) == nil {
		return errors.Join(err, os.RemoveAll(target+".conf"))
	}
	return errors.Join(err, os.RemoveAll(target), os.RemoveAll(target+".conf"))
}

func ids(ctx context.Context, db *sql.DB) (map[int64]bool, error) {
	rows, err := db.QueryContext(ctx, "SELECT id FROM sampledb.sampletable")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int64]bool{}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out[id] = true
	}
	return out, rows.Err()
}

// missing counts the acknowledged commits that the writers' server does not have, and those rows that no writer can have made: more
// than there were acknowledgements and failures.
func (w *world) missing() (lost, invented int, err error) {
	db, err := w.origin.DB()
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	seen := w.writer.Seen()
	there, err := ids(w.ctx, db)
	if err != nil {
		return 0, 0, err
	}
	later := w.writer.Seen() // what was acknowledged while we read may be there
	acked := map[int64]bool{}
	for _, a := range later.Acked {
		acked[a.ID] = true
	}
	for _, a := range seen.Acked {
		if !there[a.ID] {
			lost++
		}
	}
	unknown := 0
	for id := range there {
		if !acked[id] {
			unknown++
		}
	}
	return lost, max(0, unknown-len(later.Errors)-2), nil // two workers have a commit under way
}
