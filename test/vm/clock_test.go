//go:build vm

package vm

import (
	"fmt"
	"time"
)

// Steps of the clock as date(1) takes them.
const (
	forth = "+1 hour"
	back  = "-1 hour"
)

// clockInside sets the clock while a backup sleeps at a boundary: it succeeds, and its figures are those of the time that passed.
func (m *machine) clockInside() {
	for _, c := range []struct{ boundary, mode, step string }{
		{"hold.acted", "hot", forth},
		{"hold.acted", "hot", back},
		{"cut.acted", "hot", back},
		{"cut.acted", "hot", forth},
		{"service.acted", "cold", back},
		{"service.undo", "cold", forth},
	} {
		done := make(chan outcome)
		agent := m.agent
		go func() {
			out, err := agent.run(fmt.Sprintf("rm -f /run/trace; HOLDSTILL_FAULT=%s:sleep HOLDSTILL_FAULT_TRACE=/run/trace holdstill --json backup --mode %s --max-stall 2m",
				c.boundary, c.mode), "")
			if err != nil {
				out.Code, out.Stderr = -1, []byte(err.Error())
			}
			done <- out
		}()
		m.await(c.boundary, "grep -qx "+c.boundary+" /run/trace")
		m.sh("date -s '" + c.step + "'")
		p := m.point(<-done)
		m.t.Logf("%s at %s: %+v", c.step, c.boundary, p.Window)
		if p.Window.StallMS < 3000 {
			m.t.Errorf("commits were held for three seconds, not for %.1f ms", p.Window.StallMS)
		}
		m.sane(p, 10*time.Minute)
		m.newest(p.ID)
		m.clean()
	}
}

// clockBetween sets the clock between backups: the newest point is the one that was taken last.
func (m *machine) clockBetween() {
	for _, step := range []string{forth, back, back, forth} {
		m.sh("date -s '" + step + "'")
		p := m.backup()
		m.sane(p, 10*time.Minute)
		m.newest(p.ID)
	}
	m.clean()
}

func (m *machine) newest(id string) {
	m.t.Helper()
	if latest := m.show("latest"); latest.ID != id {
		m.t.Errorf("latest is %s, but %s was taken after it", latest.ID, id)
	}
}
