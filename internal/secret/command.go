package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// patience is how long a command may take: one that asks a server far away, not one that asks a person.
var patience = time.Minute

// environment is what a command gets of ours, which may hold the keys of a store.
var environment = []string{"PATH", "HOME", "LANG", "USER", "CREDENTIALS_DIRECTORY"}

func plain() []string {
	out := []string{} // nil would be all of it
	for _, name := range environment {
		if value, set := os.LookupEnv(name); set {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// fromCommand takes the first line that the command prints. The command runs in a process group of its own, which is killed as a whole
// when it takes too long, so that nothing is left that waits for something.
func fromCommand(ctx context.Context, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = plain()
	stdout, stderr := &limited{most: longest + 2}, &limited{most: longest}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("it did not end within %s", patience)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", fmt.Errorf("%w: it said: %s", err, words(stderr.String()))
	}
	line, _, _ := strings.Cut(stdout.String(), "\n")
	return line, nil
}

// repeated is how much of what a command said is told, in characters.
const repeated = 200

// words is the beginning of what a command said, on one line.
func words(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return "nothing"
	}
	if all := []rune(text); len(all) > repeated {
		return string(all[:repeated]) + "..."
	}
	return text
}

// limited keeps the beginning of what is written to it.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.most - l.Len(); room > 0 {
		_, _ = l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
