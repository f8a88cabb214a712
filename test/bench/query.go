package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

const queryName = "query"

// asking times the first row that a local point gives, of a small server and of the same one when it is large: it must not matter.
func asking(ctx context.Context, g *ground, r *report) error {
	for _, name := range []string{"mariadb-10.11", "mysql-9.7"} {
		build, err := lab.Find(name)
		if err != nil {
			return err
		}
		own := *g
		own.build = build
		for _, storage := range []string{btrfs, image} {
			if err := own.ask(ctx, r, storage); err != nil {
				return fmt.Errorf("%s on %s: %w", name, storage, err)
			}
		}
	}
	return nil
}

func (g *ground) ask(ctx context.Context, r *report, storage string) error {
	name := "asked-" + g.build.Name + "-" + storage
	disk, err := g.diskFor(ctx, "disk-"+name, storage, int64(g.queryMB)*3*mib+4*gib)
	if err != nil {
		return err
	}
	s, err := g.lab.Server(ctx, g.build, lab.Spec{Name: name, Datadir: filepath.Join(disk.Dir, "data"), Subvolume: storage == btrfs,
		Options: []string{"innodb-buffer-pool-size=512M"}})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	err = s.Exec(ctx, "CREATE DATABASE bench", "CREATE TABLE bench.pad (id BIGINT AUTO_INCREMENT PRIMARY KEY, x VARBINARY(1024) NOT NULL)",
		"INSERT INTO bench.pad (x) VALUES (RANDOM_BYTES(1000))")
	if err := errors.Join(err, g.know(s)); err != nil {
		return err
	}
	fmt.Printf("\n%s on %s: holdstill query POINT \"SELECT ... LIMIT 1\"\n", g.build.Name, storage)
	rows := 1
	for _, mb := range []int{64, g.queryMB} {
		for ; rows < mb*1000; rows *= 2 {
			if err := s.Exec(ctx, "SET SESSION sql_log_bin = 0", "INSERT INTO bench.pad (x) SELECT RANDOM_BYTES(1000) FROM bench.pad"); err != nil {
				return err
			}
		}
		took, err := g.asked(ctx, s)
		if err != nil {
			return err
		}
		title := fmt.Sprintf("%s, %s, %d MB", g.build.Name, storage, rows/1000)
		fmt.Printf("  %-38s %8.2f s   median of %d: %s\n", fmt.Sprintf("of %d MB", rows/1000), median(took), len(took), list(took))
		r.add("query/"+title, median(took), "s")
		r.promise = append(r.promise, goal{"first row of a point: " + title, median(took), 4, "s"})
	}
	return s.Stop(ctx)
}

func (g *ground) diskFor(ctx context.Context, name, storage string, size int64) (*lab.Volume, error) {
	if storage == btrfs {
		return g.lab.Btrfs(ctx, name, size)
	}
	outer, err := g.lab.FS(ctx, name+"-host", "xfs", size+4*gib)
	if err != nil {
		return nil, err
	}
	return g.lab.ImageOn(ctx, outer, name, "ext4", size)
}

// asked takes a point and asks it some times; a time is that of the whole command, until the scratch server is gone again.
func (g *ground) asked(ctx context.Context, s *lab.Server) (seconds []float64, err error) {
	point, err := g.point(ctx, s)
	if err != nil {
		return nil, err
	}
	for range g.runs {
		began := time.Now()
		if _, err := g.holdstill(ctx, "query", point, "SELECT id, LENGTH(x) FROM bench.pad LIMIT 1", "--scratch-dir", g.lab.Dir()); err != nil {
			return nil, err
		}
		seconds = append(seconds, time.Since(began).Seconds())
	}
	return seconds, nil
}
