package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

const (
	publishedName = "published script pair"
	// publishedSleep is how long the published scripts wait, with the lock held, before the host takes its snapshot.
	publishedSleep = 5 * time.Second
)

// published is the sequence of the script pairs that clouds and hypervisors publish: lock, wait a fixed time, snapshot, unlock.
// It is kinder than the original, whose lock is gone with its client before the snapshot: here the client stays.
func (g *ground) published(s *lab.Server, snapshot, tidy func(context.Context) error) contestant {
	return contestant{name: publishedName, runs: g.runs, tidy: tidy, run: func(ctx context.Context) (window time.Duration, err error) {
		db, err := s.DB()
		if err != nil {
			return 0, err
		}
		defer db.Close()
		conn, err := db.Conn(ctx)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		began := time.Now()
		if _, err := conn.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
			return 0, err
		}
		err = errors.Join(command(ctx, "sync"), sleep(ctx, publishedSleep))
		if err == nil {
			err = snapshot(ctx)
		}
		_, unlockErr := conn.ExecContext(context.WithoutCancel(ctx), "UNLOCK TABLES")
		return time.Since(began), errors.Join(err, unlockErr)
	}}
}

// mariadbBackup is the server's own physical backup. Its commits stall from BLOCK_COMMIT to END.
func (g *ground) mariadbBackup(s *lab.Server) contestant {
	target := filepath.Join(g.lab.Dir(), "mariadb-backup")
	return contestant{
		name: "mariadb-backup",
		runs: g.slowRuns,
		run: func(ctx context.Context) (time.Duration, error) {
			window, err := g.through(ctx, s, "BACKUP STAGE BLOCK_COMMIT", "BACKUP STAGE END", func(socket string) *exec.Cmd {
				return exec.CommandContext(ctx, "mariadb-backup", "--defaults-file="+s.OptionFile, "--backup", "--target-dir="+target, "--user=root", "--socket="+socket)
			})
			if err == nil && window == 0 {
				err = errors.New("it never took its lock, as far as we saw")
			}
			return window, err
		},
		tidy: func(context.Context) error { return os.RemoveAll(target) },
	}
}

// mariadbDump is the logical dump with coordinates, to a file. On MariaDB with a binary log it needs no lock for them: the server
// tells the position of a consistent snapshot. On other servers it takes FLUSH TABLES WITH READ LOCK, and then it shows here.
func (g *ground) mariadbDump(s *lab.Server) contestant {
	target := filepath.Join(g.lab.Dir(), "dump.sql")
	return contestant{
		name: "mariadb-dump",
		runs: g.slowRuns,
		run: func(ctx context.Context) (time.Duration, error) {
			return g.through(ctx, s, "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", func(socket string) *exec.Cmd {
				return exec.CommandContext(ctx, g.build.Dump, "--defaults-file="+s.OptionFile, "--socket="+socket,
					"--single-transaction", "--master-data=2", "--all-databases", "--result-file="+target)
			})
		},
		tidy: func(context.Context) error { return os.Remove(target) },
	}
}

// through runs a peer whose connections pass by a listener, which tells when its lock was asked for and when it was gone.
func (g *ground) through(ctx context.Context, s *lab.Server, lock, unlock string, peer func(socket string) *exec.Cmd) (time.Duration, error) {
	p, err := listen(ctx, filepath.Join(g.lab.Dir(), "peer.sock"), s.Socket, lock, unlock)
	if err != nil {
		return 0, err
	}
	defer p.close()
	cmd := peer(p.path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, tail(out, 2000))
	}
	return p.window()
}

func tail(text []byte, n int) []byte {
	if len(text) > n {
		return text[len(text)-n:]
	}
	return text
}
