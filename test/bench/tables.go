package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

const tablesName = "tables"

// bringing restores one large table of a point into the running server, from its files, beside what loading the server's own dump of it takes.
func bringing(ctx context.Context, g *ground, r *report) error {
	for _, name := range []string{"mariadb-10.11", "mysql-9.7"} {
		build, err := lab.Find(name)
		if err != nil {
			return err
		}
		own := *g
		own.build = build
		if err := own.bring(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (g *ground) bring(ctx context.Context, r *report) error {
	name := "table-" + g.build.Name
	disk, err := g.lab.Btrfs(ctx, "disk-"+name, int64(g.tableMB)*6*mib+4*gib)
	if err != nil {
		return err
	}
	s, err := g.lab.Server(ctx, g.build, lab.Spec{Name: name, Datadir: filepath.Join(disk.Dir, "data"), Subvolume: true, Options: []string{"innodb-buffer-pool-size=512M", redo(g.build)}})
	if err != nil {
		return err
	}
	if err := errors.Join(s.Start(ctx), g.know(s), orders(ctx, s, g.tableMB)); err != nil {
		return err
	}
	// a table that lies there for a while: the redo log of its making would be the scratch server's to recover
	if err := errors.Join(s.Stop(ctx), s.Start(ctx)); err != nil {
		return err
	}
	point, err := g.point(ctx, s)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s: one table of %d MB, with two secondary indexes, into the running server\n", g.build.Name, g.tableMB)
	files, err := g.brought(ctx, point, s.Name, "by_files")
	if err != nil {
		return err
	}
	fmt.Printf("  %-44s %8.2f s\n", "holdstill restore --table, from its files", files)
	dumped, loaded, err := dumpAndLoad(ctx, s, g.lab.Dir())
	if err != nil {
		return err
	}
	fmt.Printf("  %-44s %8.2f s   (and %.2f s to dump it)   %.1f times\n", "loading its dump with the server's client", loaded, dumped, loaded/files)
	r.add("tables/"+g.build.Name+"/files", files, "s")
	r.add("tables/"+g.build.Name+"/load of a dump", loaded, "s")
	r.promise = append(r.promise, goal{"one table from its files, a fifth of loading its dump: " + g.build.Name, files, loaded / 5, "s"})
	return s.Stop(ctx)
}

// orders fills a table with rows as shops have them.
func orders(ctx context.Context, s *lab.Server, megabytes int) error {
	err := s.Exec(ctx, "CREATE DATABASE bench", "USE bench", "CREATE TABLE bench.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, placed DATETIME NOT NULL, "+
		"note VARCHAR(255) NOT NULL)", "SET GLOBAL innodb_flush_log_at_trx_commit = 0",
		"INSERT INTO bench.orders (customer, placed, note) VALUES (1, NOW(), REPEAT('x', 160))")
	// some 230 bytes a row, with the indexes
	for rows := 1; err == nil && rows < megabytes*4300; rows *= 2 {
		more := min(rows, megabytes*4300-rows)
		err = s.Exec(ctx, "USE bench", "SET SESSION sql_log_bin = 0", fmt.Sprintf("INSERT INTO bench.orders (customer, placed, note) SELECT FLOOR(RAND() * 100000), "+
			"NOW() - INTERVAL FLOOR(RAND() * 1e7) SECOND, HEX(RANDOM_BYTES(80)) FROM bench.orders LIMIT %d", more))
	}
	if err != nil {
		return err
	}
	return s.Exec(ctx, "SET SESSION sql_log_bin = 0", "ALTER TABLE bench.orders ADD KEY (customer), ADD KEY (placed, customer)", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
}

// redo is a log that a server with a table of this size has: a small one would slow the load down.
func redo(b lab.Build) string {
	if b.Product == lab.MariaDB {
		return "innodb-log-file-size=1G"
	}
	return "innodb-redo-log-capacity=1G"
}

// brought is how long the whole command takes, with the scratch server's start and end, the check and the statistics.
func (g *ground) brought(ctx context.Context, point, instance, as string) (float64, error) {
	began := time.Now()
	_, err := g.holdstill(ctx, "restore", point, "--table", "bench.orders", "--as", "bench."+as, "--into", instance, "--local-only", "--way", "files", "--scratch-dir", g.lab.Dir())
	return time.Since(began).Seconds(), err
}

// dumpAndLoad is what one would do instead: the dump tool's file of the table, through the client.
func dumpAndLoad(ctx context.Context, s *lab.Server, dir string) (dumped, loaded float64, err error) {
	file := filepath.Join(dir, s.Name+".sql")
	defer func() { _ = os.Remove(file) }()
	began := time.Now()
	args := []string{"--defaults-file=" + s.OptionFile, "--result-file=" + file, "bench", "orders"}
	if s.Build.Product == lab.MySQL { // else the file wants to change the GTIDs of the server that it is loaded into
		args = append(args, "--set-gtid-purged=OFF")
	}
	dump := exec.CommandContext(ctx, s.Build.Dump, args...)
	if _, err := output(dump); err != nil {
		return 0, 0, err
	}
	dumped = time.Since(began).Seconds()
	if err := s.Exec(ctx, "CREATE DATABASE loaded"); err != nil {
		return 0, 0, err
	}
	in, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = in.Close() }()
	began = time.Now()
	load := exec.CommandContext(ctx, s.Build.Client, "--defaults-file="+s.OptionFile, "--init-command=SET SESSION sql_log_bin = 0", "loaded")
	load.Stdin = in
	if text, err := load.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(text)))
	}
	return dumped, time.Since(began).Seconds(), nil
}
