package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

const pitrName = "pitr"

// sessions commit at the same time: what can be replayed in parallel.
const sessions = 16

// replaying restores a point and goes on to the end of the server's binary log, and compares the replay with that of
// mysqlbinlog | mysql into the same copy: as the server is configured, and with commits that are not synced.
func replaying(ctx context.Context, g *ground, r *report) error {
	for _, name := range []string{"mariadb-10.11", "mysql-9.7"} {
		build, err := lab.Find(name)
		if err != nil {
			return err
		}
		own := *g
		own.build = build
		if err := own.replay(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (g *ground) replay(ctx context.Context, r *report) error {
	disk, err := g.lab.Btrfs(ctx, "disk-"+g.build.Name, 12*gib)
	if err != nil {
		return err
	}
	s, err := g.lab.Server(ctx, g.build, lab.Spec{Name: g.build.Name, Datadir: filepath.Join(disk.Dir, "data"), Subvolume: true, Options: []string{"innodb-buffer-pool-size=512M"}})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	const table = "CREATE TABLE bench.load_rows (id BIGINT AUTO_INCREMENT PRIMARY KEY, worker INT NOT NULL, note VARCHAR(100) NOT NULL)"
	if err := errors.Join(s.Exec(ctx, "CREATE DATABASE bench", table), g.know(s)); err != nil {
		return err
	}
	point, err := g.point(ctx, s)
	if err != nil {
		return err
	}
	if err := busy(ctx, s, g.replayed); err != nil {
		return err
	}
	if err := s.Stop(ctx); err != nil { // its cores are needed; its files stay
		return err
	}
	fmt.Printf("\n%s: replay of %d transactions of %d sessions\n", g.build.Name, g.replayed, sessions)
	ours, moment, err := g.goOn(ctx, point, s, disk)
	if err != nil {
		return err
	}
	fmt.Printf("  %-38s %8.2f s   %d transactions, %d workers (%s)\n", "holdstill restore --until-position", ours, moment.Applied, moment.Workers, moment.Mode)
	for i, relaxed := range []string{"", "SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 0"} {
		theirs, err := g.pipe(ctx, point, s, disk, moment, relaxed)
		if err != nil {
			return err
		}
		title := "mysqlbinlog | mysql"
		if i == 1 {
			title += ", without syncs"
		}
		fmt.Printf("  %-38s %8.2f s\n", title, theirs)
		r.add(fmt.Sprintf("pitr/%s/%s", g.build.Name, title), theirs, "s")
		r.versus("pitr/"+g.build.Name+"/holdstill", ours, "s", title, theirs)
		if i == 0 {
			r.promise = append(r.promise, goal{g.build.Name + ": replay, of the time of " + title, ours / theirs, 0.5, ""})
		}
	}
	return nil
}

// busy commits small transactions from many sessions.
func busy(ctx context.Context, s *lab.Server, transactions int) error {
	db, err := s.DB()
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(sessions)
	for _, statement := range []string{"SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 2"} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	failed := make(chan error, sessions)
	for session := range sessions {
		all.Go(func() {
			for range transactions / sessions {
				if _, err := db.ExecContext(ctx, "INSERT INTO bench.load_rows (worker, note) VALUES (?, 'a row of one of many sessions')", session); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed
}

// logsOf are the server's binary logs from the point's on.
func logsOf(s *lab.Server) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(s.Datadir, "binlog.0*"))
	slices.Sort(all)
	return all, err
}

// goOn restores and replays with holdstill, and tells the time of the replay alone, from the first byte that is copied to the end.
func (g *ground) goOn(ctx context.Context, point string, s *lab.Server, disk *lab.Volume) (seconds float64, moment *pitr.Moment, err error) {
	logs, err := logsOf(s)
	if err != nil {
		return 0, nil, err
	}
	last := logs[len(logs)-1]
	info, err := os.Stat(last)
	if err != nil {
		return 0, nil, err
	}
	data := filepath.Join(disk.Dir, "on")
	out, err := g.holdstill(ctx, "--json", "restore", point, "--datadir", data, "--binlogs", s.Datadir, "--until-position", fmt.Sprintf("%s:%d", filepath.Base(last), info.Size()))
	if err != nil {
		return 0, nil, err
	}
	var result struct{ Moment pitr.Moment }
	if err := json.Unmarshal(out, &result); err != nil {
		return 0, nil, err
	}
	return result.Moment.MS / 1000, &result.Moment, errors.Join(command(ctx, "btrfs", "subvolume", "delete", data), os.RemoveAll(data+".conf"))
}

// pipe restores to the point, and replays as one does by hand.
func (g *ground) pipe(ctx context.Context, point string, s *lab.Server, disk *lab.Volume, moment *pitr.Moment, relaxed string) (seconds float64, err error) {
	data := filepath.Join(disk.Dir, "piped")
	out, err := g.holdstill(ctx, "--json", "restore", point, "--datadir", data, "--start")
	if err != nil {
		return 0, err
	}
	var result restore.Result
	if err := json.Unmarshal(out, &result); err != nil {
		return 0, err
	}
	option := "--defaults-file=" + result.OptionFile
	if relaxed != "" {
		if err := command(ctx, g.build.Client, option, "-e", relaxed); err != nil {
			return 0, err
		}
	}
	logs, err := logsOf(s)
	if err != nil {
		return 0, err
	}
	first := slices.IndexFunc(logs, func(l string) bool { return filepath.Base(l) == result.Position.File })
	if first < 0 {
		return 0, fmt.Errorf("the point's binary log %s is not there any more", result.Position.File)
	}
	script := fmt.Sprintf("set -o pipefail; %s --start-position=%d %s | %s %s", g.build.Binlog, result.Position.Offset, words(logs[first:]), g.build.Client, option)
	begun := time.Now()
	if err := command(ctx, "bash", "-c", script); err != nil {
		return 0, err
	}
	seconds = time.Since(begun).Seconds()
	if err := command(ctx, g.build.Admin, option, "shutdown"); err != nil {
		return 0, err
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	return seconds, errors.Join(command(ctx, "btrfs", "subvolume", "delete", data), os.RemoveAll(data+".conf"))
}

func words(all []string) (out string) {
	for _, w := range all {
		out += " " + w
	}
	return out
}
