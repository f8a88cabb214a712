package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

const dumpName = "dump"

// dumpThreads are those of both sides.
const dumpThreads = 2

// dumping lets holdstill dump a point, and mydumper the same data from the live server, with as many threads; then both load what they wrote.
func dumping(ctx context.Context, g *ground, r *report) error {
	disk, err := g.lab.Btrfs(ctx, "disk-dumped", int64(g.dumpMB)*8*mib+4*gib)
	if err != nil {
		return err
	}
	s, err := g.lab.Server(ctx, g.build, lab.Spec{Name: "dumped", Datadir: filepath.Join(disk.Dir, "data"), Subvolume: true,
		Options: []string{"innodb-buffer-pool-size=512M", "innodb-log-file-size=256M"}})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	if err := fillTables(ctx, s, g.dumpMB); err != nil {
		return err
	}
	if err := g.know(s); err != nil {
		return err
	}
	point, err := g.point(ctx, s)
	if err != nil {
		return err
	}
	fmt.Printf("\ndumps of %d MB in 8 tables, %d threads, gzip\n", g.dumpMB, dumpThreads)
	d := dumpContest{ground: g, report: r, server: s, point: point}
	if err := d.dumps(ctx); err != nil {
		return err
	}
	if err := d.loads(ctx); err != nil {
		return err
	}
	return s.Stop(ctx)
}

// fillTables makes tables of several sizes with what applications store: numbers, times, text that compresses to a third.
func fillTables(ctx context.Context, s *lab.Server, megabytes int) error {
	statements := []string{"SET SESSION sql_log_bin = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 0", "CREATE DATABASE bench"}
	const row = 260 // bytes
	for i, share := range []int{40, 20, 12, 10, 8, 5, 3, 2} {
		table := fmt.Sprintf("bench.t%d", i)
		statements = append(statements, "CREATE TABLE "+table+" (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, amount DECIMAL(10,2) NOT NULL, "+
			"at DATETIME(3) NOT NULL, state ENUM('new','paid','sent','back') NOT NULL, note VARCHAR(400) NOT NULL, mail VARCHAR(80) NOT NULL, KEY (customer, at), KEY (mail))")
		for left := megabytes * mib / 100 * share / row; left > 0; left -= 50_000 {
			statements = append(statements, fmt.Sprintf("INSERT INTO %s (customer, amount, at, state, note, mail) SELECT RAND(seq) * 1e6, RAND(seq + 1) * 1000, "+
				"'2026-01-01' + INTERVAL seq SECOND, 1 + seq %% 4, CONCAT('order ', seq, ' was sent to the customer ', HEX(SHA1(seq + %d)), REPEAT(' please call before delivery', 2)), "+
				"CONCAT(LEFT(MD5(seq * 7 + %d), 12), '@example.org') FROM bench.seq_1_to_%d", table, left, left, min(left, 50_000)))
		}
	}
	return s.Exec(ctx, append(statements, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")...)
}

type dumpContest struct {
	*ground
	report *report
	server *lab.Server
	point  string
}

// timed runs a contestant into fresh directories and tells the seconds; the last directory stays.
func (d *dumpContest) timed(name string, run func(dir string) error) (float64, string, error) {
	var seconds []float64
	dir := ""
	for i := range d.slowRuns {
		if dir != "" {
			if err := os.RemoveAll(dir); err != nil {
				return 0, "", err
			}
		}
		dir = filepath.Join(d.lab.Dir(), fmt.Sprintf("%s-%d", name, i))
		began := time.Now()
		if err := run(dir); err != nil {
			return 0, "", fmt.Errorf("%s: %w", name, err)
		}
		seconds = append(seconds, time.Since(began).Seconds())
	}
	fmt.Printf("  %-46s %8.2f s   median of %d: %s\n", name, median(seconds), len(seconds), list(seconds))
	return median(seconds), dir, nil
}

func (d *dumpContest) dumps(ctx context.Context) error {
	threads := strconv.Itoa(dumpThreads)
	peer, _, err := d.timed("mydumper", func(dir string) error {
		_, err := output(exec.CommandContext(ctx, "mydumper", "--socket", d.server.Socket, "--user", "root", "--database", "bench", "--threads", threads, "--compress", "--outputdir", dir))
		return err
	})
	if err != nil {
		return err
	}
	for name, more := range map[string][]string{"holdstill-dump": nil, "holdstill-dump-no-checksums": {"--no-checksums"}} {
		own, _, err := d.timed(name, func(dir string) error {
			_, err := d.holdstill(ctx, append([]string{"dump", d.point, "bench", "--out", dir, "--threads", threads, "--scratch-dir", d.lab.Dir()}, more...)...)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("  %-46s %8.2f of mydumper's time\n", name, own/peer)
		d.report.versus("tables/"+name, own, "s", "mydumper --compress", peer)
		d.report.promise = append(d.report.promise, goal{name + " beside mydumper", own / peer, 1, "x"})
	}
	return nil
}

func (d *dumpContest) loads(ctx context.Context) error {
	threads := strconv.Itoa(dumpThreads)
	drop := func() error { return d.server.Exec(ctx, "DROP DATABASE IF EXISTS loaded") }
	peer, _, err := d.timed("myloader", func(string) error {
		dump := filepath.Join(d.lab.Dir(), fmt.Sprintf("mydumper-%d", d.slowRuns-1))
		_, err := output(exec.CommandContext(ctx, "myloader", "--socket", d.server.Socket, "--user", "root", "--database", "loaded", "--threads", threads, "--enable-binlog", "--directory", dump))
		if err != nil {
			return err
		}
		return drop()
	})
	if err != nil {
		return err
	}
	own, _, err := d.timed("holdstill-load", func(string) error {
		dump := filepath.Join(d.lab.Dir(), fmt.Sprintf("holdstill-dump-%d", d.slowRuns-1))
		_, err := d.holdstill(ctx, "restore", "--from-dump", dump, "--into", d.server.Name, "--database", "bench", "--as", "loaded", "--threads", threads)
		if err != nil {
			return err
		}
		return drop()
	})
	if err != nil {
		return err
	}
	fmt.Printf("  %-46s %8.2f of myloader's time, checks included\n", "holdstill restore --from-dump", own/peer)
	d.report.versus("tables/load", own, "s", "myloader", peer)
	return nil
}
