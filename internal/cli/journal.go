package cli

import (
	"strings"
	"sync"

	"github.com/holdstill/holdstill/internal/holder"
)

// journal keeps log lines in memory: between the hold and the release nothing may be written.
type journal struct {
	mu    sync.Mutex
	lines []string
	told  int
}

// Write takes one line.
func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// with adds the lines that nobody was told yet.
func (j *journal) with(r holder.Result) holder.Result {
	j.mu.Lock()
	defer j.mu.Unlock()
	r.Log, j.told = j.lines[j.told:], len(j.lines)
	return r
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines
}
