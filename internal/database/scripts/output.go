package scripts

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// keptOutput is how much of a script's output is kept: its end, where the reason of a failure is.
const keptOutput = 16 << 10

// output drains what a script and all that it leaves running writes, and keeps the end.
type output struct {
	from *os.File
	done chan struct{}

	mu   sync.Mutex
	kept []byte
	all  int64
}

// drain reads until the last writer is gone, or close.
func drain(from *os.File) *output {
	o := &output{from: from, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			o.keep(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return o
}

func (o *output) keep(more []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all += int64(len(more))
	o.kept = append(o.kept, more...)
	if cut := len(o.kept) - keptOutput; cut > 0 {
		o.kept = append(o.kept[:0], o.kept[cut:]...)
	}
}

// lines are the lines that are kept, with a word about what is not.
func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	if lost := o.all - int64(len(o.kept)); lost > 0 {
		out = append(out, fmt.Sprintf("(%d bytes before this are left out)", lost))
	}
	for line := range strings.Lines(strings.ToValidUTF8(string(o.kept), "\uFFFD")) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// last is the last line, shortened.
func (o *output) last() string {
	lines := o.lines()
	if len(lines) == 0 {
		return ""
	}
	line := []rune(lines[len(lines)-1])
	return string(line[:min(len(line), 200)])
}

// close ends the reading. A process that still writes meets a broken pipe from then on.
func (o *output) close() {
	_ = o.from.Close()
	<-o.done
}
