package labtest

import (
	"slices"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// Undisturbed wants that a writer of other tables saw no error, and that no commit of it waited for what was done beside it. A second is
// promised. Two more are the machine's: a disk that others write to lets a commit wait for longer than any of our locks lasts.
func Undisturbed(t *testing.T, seen lab.WriterResult) {
	t.Helper()
	if len(seen.Acked) == 0 {
		t.Fatal("the writer of another table wrote nothing")
	}
	slowest := slices.MaxFunc(seen.Acked, func(a, b lab.Ack) int { return int(a.Latency - b.Latency) })
	if len(seen.Errors) > 0 || slowest.Latency > 3*time.Second {
		t.Errorf("a writer of another table saw %v, and waited %s", seen.Errors, slowest.Latency)
	}
	t.Logf("%d commits meanwhile, the slowest %s", len(seen.Acked), slowest.Latency)
}
