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

// ground is where the contests take place: the servers, their disks, and a holdstill that knows them.
type ground struct {
	options
	lab     *lab.Lab
	build   lab.Build
	servers []*lab.Server
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

func (g *ground) prepare(ctx context.Context) error {
	if _, err := exec.LookPath("mariadb-backup"); err != nil {
		return fmt.Errorf("a peer is missing (scripts/prereqs.sh test): %w", err)
	}
	if g.binary == "" {
		var err error
		if g.binary, err = buildBinary(ctx, g.lab.Dir()); err != nil {
			return err
		}
	}
	return nil
}

// server makes a started server with data on a disk, and tells holdstill of it.
func (g *ground) server(ctx context.Context, name string, disk *lab.Volume, megabytes int) (*lab.Server, error) {
	s, err := g.lab.Server(ctx, g.build, lab.Spec{
		Name: name, Datadir: filepath.Join(disk.Dir, "data"), Subvolume: disk.FS == "btrfs",
		// what a small production server has; the lab's default is made for a laptop
		Options: []string{"innodb-buffer-pool-size=512M", "innodb-log-file-size=256M"},
	})
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if err := fill(ctx, s, megabytes); err != nil {
		return nil, err
	}
	return s, g.know(s)
}

// know tells holdstill of a server.
func (g *ground) know(s *lab.Server) error {
	g.servers = append(g.servers, s)
	return g.configure("")
}

// fill loads random bytes, which nothing can compress or share, and then puts durability back.
func fill(ctx context.Context, s *lab.Server, megabytes int) error {
	statements := []string{
		"SET SESSION sql_log_bin = 0",
		"SET GLOBAL innodb_flush_log_at_trx_commit = 0",
		"CREATE DATABASE bench",
		"CREATE TABLE bench.pad (id BIGINT AUTO_INCREMENT PRIMARY KEY, x VARBINARY(1024) NOT NULL)",
		"CREATE TABLE bench.load_rows (id BIGINT AUTO_INCREMENT PRIMARY KEY, worker INT NOT NULL, note VARCHAR(100) NOT NULL)",
		"CREATE TABLE bench.probe (id BIGINT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))",
	}
	const batch = 16 // MiB: a transaction that fits the redo log many times
	for done := 0; done < megabytes; done += batch {
		statements = append(statements, fmt.Sprintf("INSERT INTO bench.pad (x) SELECT RANDOM_BYTES(1000) FROM bench.seq_1_to_%d", batch*1024))
	}
	statements = append(statements, "SET GLOBAL innodb_flush_log_at_trx_commit = 1", "SET SESSION sql_log_bin = 1", "FLUSH LOGS")
	return s.Exec(ctx, statements...)
}

// configure writes the configuration anew, with all servers so far and another section.
func (g *ground) configure(more string) error {
	text := more + fmt.Sprintf("\nhooks:\n  azure: {instances: [%s]}\ninstances:\n", g.servers[len(g.servers)-1].Name) // the others are stopped
	for _, s := range g.servers {
		text += fmt.Sprintf("  %s:\n    option_file: %s\n    service:\n      start: %s\n      stop: %s\n", s.Name, s.OptionFile, s.StartCommand(), s.StopCommand())
	}
	return os.WriteFile(filepath.Join(g.lab.Dir(), "holdstill.yaml"), []byte(text), 0o600)
}

// holdstill runs the program and gives what it printed.
func (g *ground) holdstill(ctx context.Context, args ...string) ([]byte, error) {
	return output(g.command(ctx, args...))
}

func (g *ground) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--config", filepath.Join(g.lab.Dir(), "holdstill.yaml")}, args...)
	cmd := exec.CommandContext(ctx, g.binary, args...)
	cmd.Env = append(os.Environ(), "HOLDSTILL_STATE="+filepath.Join(g.lab.Dir(), "state"), "HOLDSTILL_RUN="+filepath.Join(g.lab.Dir(), "run"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}
