package family

import (
	"context"
	"sync"
	"time"
)

// interruptGrace is how long a statement may take to notice that it was interrupted.
const interruptGrace = time.Second

// watchdog breaks a hold from outside: it interrupts a stall that is not granted in time, and at the end of the budget it
// kills the connection, whatever hangs.
type watchdog struct {
	hold  *hold
	grant chan struct{}
	quit  chan struct{}
	ended chan struct{}
	once  [2]sync.Once
	why   string // what it did; read after ended
}

func watch(ctx context.Context, h *hold, patience, end time.Time) *watchdog {
	d := &watchdog{hold: h, grant: make(chan struct{}), quit: make(chan struct{}), ended: make(chan struct{})}
	go d.run(ctx, patience, end)
	return d
}

func (d *watchdog) run(ctx context.Context, patience, end time.Time) {
	defer close(d.ended)
	if d.waitForGrant(ctx, patience) {
		select {
		case <-d.quit:
			return
		case <-time.After(time.Until(end)):
			d.kill("its budget was over")
		}
	}
}

// waitForGrant returns true once the stall is granted. An interruption that is not noticed is followed by a kill.
func (d *watchdog) waitForGrant(ctx context.Context, patience time.Time) bool {
	select {
	case <-d.grant:
		return true
	case <-d.quit:
		return false
	case <-ctx.Done():
	case <-time.After(time.Until(patience)):
	}
	d.why = "it was not granted in time"
	d.hold.interrupt()
	select {
	case <-d.grant: // answered, granted or not: the same race is decided by the answer
		return true
	case <-d.quit:
	case <-time.After(interruptGrace):
		d.kill("it did not notice that it was interrupted")
	}
	return false
}

func (d *watchdog) kill(why string) {
	d.why = why
	d.hold.kill("CONNECTION")
}

// granted tells it that the stalling statement was answered.
func (d *watchdog) granted() { d.once[0].Do(func() { close(d.grant) }) }

// stop ends it and tells what it did, "" if nothing. A nil watchdog did nothing.
func (d *watchdog) stop() string {
	if d == nil {
		return ""
	}
	d.once[1].Do(func() { close(d.quit) })
	<-d.ended
	return d.why
}
