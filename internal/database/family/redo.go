package family

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const logsPause = 5 * time.Millisecond

// awaitLogs waits until the redo log's file has what was committed before the stall. With innodb_flush_log_at_trx_commit=0
// MariaDB ignores FLUSH ENGINE LOGS: a background thread writes once a second, and nothing hurries it.
// The watchdog ends this wait with the budget: the pinned connection is then gone.
func (h *hold) awaitLogs() error {
	ctx := context.Background()
	wanted := uint64(0)
	for {
		rows, err := query(ctx, h.pinned, "SHOW ENGINE INNODB STATUS")
		if err != nil {
			return fmt.Errorf("cannot see whether the redo log is written: %w", err)
		}
		current, written := logPositions(merge(rows)["status"])
		if wanted == 0 {
			wanted = current
		}
		if written >= wanted {
			return nil
		}
		time.Sleep(logsPause)
	}
}

// logPositions reads the log sequence numbers of InnoDB's monitor.
func logPositions(status string) (current, written uint64) {
	for line := range strings.Lines(status) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "Log sequence number"); ok {
			current, _ = strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
		if rest, ok := strings.CutPrefix(line, "Log flushed up to"); ok {
			written, _ = strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
	}
	return current, written
}
