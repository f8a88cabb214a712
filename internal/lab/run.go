package lab

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// run runs a command to its end; what it printed is in the error.
func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 2 * time.Second // a grandchild with our pipe must not hold us
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, telling(text, 12))
	}
	return text, nil
}

// telling is the end of an output, and before it the errors that the end is only advice about (mariadb-install-db).
func telling(text string, n int) string {
	end := lastLines(text, n)
	var errs []string
	for line := range strings.Lines(strings.TrimSuffix(text, end)) {
		if strings.Contains(strings.ToUpper(line), "ERROR") {
			errs = append(errs, strings.TrimSpace(line))
		}
	}
	return strings.Join(append(errs, end), "\n")
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
