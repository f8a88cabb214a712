package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// An interrupted holdstill takes back what it has changed; this long it may take.
const patience = 30 * time.Second

// run shows a shell command as it is typed on a node, runs it there, and shows what comes back while it comes.
func (d *demo) run(ctx context.Context, node, command string) (time.Duration, error) {
	d.typed(node+"#", command)
	out := &lines{tell: d.said}
	cmd := d.command(ctx, node, command)
	cmd.Stdout, cmd.Stderr = out, out
	began := time.Now()
	err := cmd.Run()
	out.flush()
	if err != nil {
		return 0, fmt.Errorf("on %s: %s: %w", node, command, err)
	}
	return time.Since(began), nil
}

// ask runs a shell command on a node without showing it, for its output.
func (d *demo) ask(ctx context.Context, node, command string) ([]byte, error) {
	out, err := d.command(ctx, node, command).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("on %s: %s: %w: %s", node, command, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

func (d *demo) command(ctx context.Context, node, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.Dir, "on"), node, "sh", "-c", command)
	// A group of its own: a ^C is for us, and we tell the whole group once. Nothing waits for those that a kill -9 of
	// ours leaves alone: the reaper finds them by their namespace.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = patience
	return cmd
}

// sql shows a statement as it is typed into a node's client, and executes it. What is secret in it is not shown.
func (d *demo) sql(ctx context.Context, n *node, statement, secret string) error {
	shown := statement
	if secret != "" {
		shown = strings.ReplaceAll(statement, secret, "********")
	}
	d.typed(n.name+" sql>", shown)
	if err := n.server.Exec(ctx, statement); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), orElse(secret, "\x00"), "********"))
	}
	return nil
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
