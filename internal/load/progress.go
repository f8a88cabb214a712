package load

import (
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/dumpfile"
)

// meters are those of the files that are being read.
type meters struct {
	mu  sync.Mutex
	all []*dumpfile.Progress
}

func (m *meters) add(p *dumpfile.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, p)
}

func (m *meters) remove(p *dumpfile.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, other := range m.all {
		if other == p {
			m.all = append(m.all[:i], m.all[i+1:]...)
			return
		}
	}
}

func (m *meters) done() (sum int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.all {
		sum += p.Done()
	}
	return sum
}

// watch tells how far the load is, a few times a second, until stop is called.
func (j *job) watch(running *meters) (stop func()) {
	if j.deps.Tell == nil {
		return func() {}
	}
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				j.deps.Tell(Event{Done: j.ended.Load() + running.done(), Total: j.plan.bytes})
			}
		}
	}()
	return func() {
		close(over)
		<-gone
	}
}
