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
)

// The contests' names are part of the names in the JSON.
const (
	btrfs       = "btrfs"
	image       = "image"
	restoreName = "restore"
)

// onBtrfs is the data directory in a btrfs subvolume: Holdstill and all peers.
func onBtrfs(ctx context.Context, g *ground, r *report) error {
	disk, err := g.lab.Btrfs(ctx, "disk-btrfs", 8*gib)
	if err != nil {
		return err
	}
	s, err := g.server(ctx, "on-btrfs", disk, g.dataMB)
	if err != nil {
		return err
	}
	return contest(ctx, g, r, btrfs, s,
		g.ours(s),
		g.published(s, func(ctx context.Context) error {
			return command(ctx, "btrfs", "subvolume", "snapshot", "-r", s.Datadir, filepath.Join(disk.Dir, "published"))
		}, func(ctx context.Context) error {
			return command(ctx, "btrfs", "subvolume", "delete", filepath.Join(disk.Dir, "published"))
		}),
		g.mariadbBackup(s),
		g.mariadbDump(s),
	)
}

// onImage is the data directory on an xfs whose disk is a file on an xfs, reflinked: what a snapshot of a virtual disk is.
func onImage(ctx context.Context, g *ground, r *report) error {
	store, err := g.lab.FS(ctx, "store", "xfs", 12*gib)
	if err != nil {
		return err
	}
	disk, err := g.lab.ImageOn(ctx, store, "disk-image", "xfs", 4*gib)
	if err != nil {
		return err
	}
	s, err := g.server(ctx, "on-image", disk, g.dataMB)
	if err != nil {
		return err
	}
	copied := filepath.Join(store.Dir, "host.img")
	snapshot := func(ctx context.Context) error { // the host's: it freezes the file system, and clones the disk
		if err := command(ctx, "fsfreeze", "--freeze", disk.Dir); err != nil {
			return err
		}
		err := command(ctx, "cp", "--reflink=always", disk.Image, copied)
		if thawErr := command(context.WithoutCancel(ctx), "fsfreeze", "--unfreeze", disk.Dir); err == nil {
			err = thawErr
		}
		return err
	}
	tidy := func(context.Context) error { return os.Remove(copied) }
	return contest(ctx, g, r, image, s, g.ours(s), g.hooked(s, snapshot, tidy), g.published(s, snapshot, tidy))
}

// ours is a whole `holdstill backup`; the window is what it says of itself, and the prober is the witness.
func (g *ground) ours(s *lab.Server) contestant {
	var point catalog.Point
	return contestant{
		name: "holdstill backup",
		runs: g.runs,
		run: func(ctx context.Context) (time.Duration, error) {
			out, err := g.holdstill(ctx, "--json", "backup", s.Name, "--mode", "hot", "--no-ship")
			if err != nil {
				return 0, err
			}
			if err := json.Unmarshal(out, &point); err != nil {
				return 0, fmt.Errorf("cannot read the point: %w", err)
			}
			if point.Consistency != catalog.Application {
				return 0, fmt.Errorf("the point is only %s: %s", point.Consistency, point.ConsistencyReason)
			}
			return time.Duration(point.Window.StallMS * float64(time.Millisecond)), nil
		},
		tidy: func(ctx context.Context) error {
			_, err := g.holdstill(ctx, "points", "rm", point.ID)
			return err
		},
	}
}

// hooked is what a host does with Holdstill's pre and post in the place of the published pair: the same snapshot between them.
func (g *ground) hooked(s *lab.Server, snapshot, tidy func(context.Context) error) contestant {
	var answer struct{ Points []catalog.Point }
	return contestant{
		name: "holdstill hook",
		runs: g.runs,
		run: func(ctx context.Context) (time.Duration, error) {
			if _, err := g.holdstill(ctx, "hook", "azure", "pre"); err != nil {
				return 0, err
			}
			failed := snapshot(ctx)
			out, err := g.holdstill(context.WithoutCancel(ctx), "--json", "hook", "azure", "post")
			if err == nil {
				err = json.Unmarshal(out, &answer)
			}
			if err := errors.Join(failed, err); err != nil {
				return 0, err
			}
			if len(answer.Points) != 1 {
				return 0, fmt.Errorf("the hook recorded %d points for %s", len(answer.Points), s.Name)
			}
			return time.Duration(answer.Points[0].Window.StallMS * float64(time.Millisecond)), nil
		},
		tidy: func(ctx context.Context) error {
			_, err := g.holdstill(ctx, "points", "rm", answer.Points[0].ID)
			return errors.Join(err, tidy(ctx))
		},
	}
}

func command(ctx context.Context, words ...string) error {
	_, err := output(exec.CommandContext(ctx, words[0], words[1:]...))
	return err
}
