package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/restore"
)

// restoring turns a local point of a few gigabytes into a server that answers.
func restoring(ctx context.Context, g *ground, r *report) error {
	// room for the data, a backup, its copy, and what the snapshot keeps of overwritten blocks; sparse
	disk, err := g.lab.Btrfs(ctx, "disk-restore", int64(g.restoreGB)*6*gib+4*gib)
	if err != nil {
		return err
	}
	s, err := g.server(ctx, "to-restore", disk, g.restoreGB*1024)
	if err != nil {
		return err
	}
	fmt.Printf("\nrestore of %d GB to a server that answers\n", g.restoreGB)
	point, err := g.point(ctx, s)
	if err != nil {
		return err
	}
	byHand, err := g.byMariadbBackup(ctx, s, disk)
	if err != nil {
		return err
	}
	// both on one machine: the old server gives way, as it does when a machine is restored
	if err := s.Stop(ctx); err != nil {
		return err
	}
	var ours []float64
	for range g.slowRuns {
		took, err := g.restore(ctx, point, disk)
		if err != nil {
			return err
		}
		ours = append(ours, took.Seconds())
	}
	r.restored(ours, byHand.Seconds(), g.restoreGB)
	return nil
}

func (g *ground) point(ctx context.Context, s *lab.Server) (string, error) {
	out, err := g.holdstill(ctx, "--json", "backup", s.Name, "--no-ship")
	if err != nil {
		return "", err
	}
	var point catalog.Point
	return point.ID, json.Unmarshal(out, &point)
}

// restore is timed until the program has ended, which is after the server answered; and then we ask it ourselves.
func (g *ground) restore(ctx context.Context, point string, disk *lab.Volume) (took time.Duration, err error) {
	data, etc := filepath.Join(disk.Dir, "again"), filepath.Join(g.lab.Dir(), "again")
	began := time.Now()
	out, err := g.holdstill(ctx, "--json", "restore", point, "--datadir", data, "--config-dir", etc, "--start")
	took = time.Since(began)
	if err != nil {
		return 0, err
	}
	if err := printStages(out); err != nil {
		return 0, err
	}
	option := "--defaults-file=" + filepath.Join(etc, "my.cnf")
	if err := command(ctx, g.build.Client, option, "-e", "SELECT COUNT(*) FROM bench.probe"); err != nil {
		return 0, fmt.Errorf("the restored server does not answer: %w", err)
	}
	if err := command(ctx, g.build.Admin, option, "--wait=1", "shutdown"); err != nil {
		return 0, err
	}
	if err := sleep(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	if err := command(ctx, "btrfs", "subvolume", "delete", data); err != nil {
		return 0, errors.Join(os.RemoveAll(data), os.RemoveAll(etc))
	}
	return took, os.RemoveAll(etc)
}

// printStages tells where the time went.
func printStages(out []byte) error {
	var result restore.Result
	if err := json.Unmarshal(out, &result); err != nil {
		return err
	}
	fmt.Print("   ")
	for _, s := range result.Times {
		fmt.Printf(" %s %.2f s", s.Name, s.MS/1000)
	}
	fmt.Println()
	return nil
}

// byMariadbBackup prepares a mariadb-backup, copies it back and starts a server on it. The backup itself is not timed.
func (g *ground) byMariadbBackup(ctx context.Context, s *lab.Server, disk *lab.Volume) (took time.Duration, err error) {
	target := filepath.Join(disk.Dir, "mariadb-backup")
	backup := func(args ...string) error {
		out, err := exec.CommandContext(ctx, "mariadb-backup", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mariadb-backup: %w\n%s", err, tail(out, 2000))
		}
		return nil
	}
	if err := backup("--defaults-file="+s.OptionFile, "--backup", "--target-dir="+target, "--user=root"); err != nil {
		return 0, err
	}
	empty, err := g.lab.Server(ctx, g.build, lab.Spec{Name: "copied-back", Datadir: filepath.Join(disk.Dir, "copied-back")})
	if err != nil {
		return 0, err
	}
	if err := os.RemoveAll(empty.Datadir); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := backup("--prepare", "--target-dir="+target); err != nil {
		return 0, err
	}
	if err := backup("--defaults-file="+empty.OptionFile, "--copy-back", "--target-dir="+target); err != nil {
		return 0, err
	}
	if err := command(ctx, "chown", "-R", "mysql:mysql", empty.Datadir); err != nil {
		return 0, err
	}
	if err := empty.Start(ctx); err != nil {
		return 0, err
	}
	took = time.Since(began)
	return took, errors.Join(empty.Stop(ctx), os.RemoveAll(target), os.RemoveAll(empty.Datadir))
}

func (r *report) restored(ours []float64, byHand float64, gb int) {
	fmt.Printf("  %-24s %8.2f s   median of %d: %s\n", "holdstill restore", median(ours), len(ours), list(ours))
	fmt.Printf("  %-24s %8.2f s   one run: prepare, copy back, start\n", "mariadb-backup", byHand)
	r.add("restore/mariadb-backup", byHand, "s")
	r.versus("restore/holdstill", median(ours), "s", "mariadb-backup", byHand)
	r.promise = append(r.promise, goal{fmt.Sprintf("restore of %d GB", gb), median(ours), 3, "s"})
}
