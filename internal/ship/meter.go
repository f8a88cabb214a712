package ship

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/repository"
)

// meter turns counts into progress with a rate and a time to go.
type meter struct {
	begun time.Time
	total int64
	pass  func(Event)
}

func newMeter(total int64, pass func(Event)) *meter {
	return &meter{begun: time.Now(), total: total, pass: pass}
}

func (m *meter) tell(c repository.Counts) {
	if m.pass == nil {
		return
	}
	e := Event{Counts: c, Total: m.total}
	if took := time.Since(m.begun).Seconds(); took > 0 {
		e.Rate = float64(c.Done()) / took
	}
	if e.Rate > 0 {
		e.ETA = time.Duration(float64(m.total-c.Done()) / e.Rate * float64(time.Second)).Round(time.Second)
	}
	m.pass(e)
}

func timeOf(t unix.Timespec) time.Time { return time.Unix(t.Unix()) }
