package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/holder"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
	"github.com/holdstill/holdstill/internal/wire"
)

const (
	// giveWay is how long an earlier holder of the same host may take to end, once it has answered.
	giveWay = 5 * time.Second
	// afterPost is what the release of all instances may take, on top of the host's time.
	afterPost = 5 * time.Second
	// longLog is the size in bytes from which a log of holders is begun anew.
	longLog = 1 << 20
)

// holder is the detached process that a pre starts.
func (a *app) holder() *cobra.Command {
	return &cobra.Command{
		Use: "hook-holder HOST", Hidden: true, Short: "Keep a hold between a host's pre and its post", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := personality(args[0])
			if err != nil {
				return err
			}
			caller, request, err := holder.Called()
			if err != nil {
				return err
			}
			h := &holding{app: a, personality: p, caller: caller, journal: &journal{}}
			a.log = newLogger("text", a.verbose, h.journal)
			h.hold(cmd.Context(), request)
			return nil // what there is to say was said to those who asked
		},
	}
}

// holding is the life of a holder.
type holding struct {
	*app
	personality hook.Personality
	caller      *holder.Caller
	journal     *journal
	answered    atomic.Bool
}

func (h *holding) hold(ctx context.Context, r holder.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	name := h.personality.Name()
	held, err := h.lock(ctx)
	if err != nil {
		_ = h.say(h.result(holder.Result{Outcome: hook.NotReady, Err: err}))
		return
	}
	defer held.Close()
	c, err := h.configuration(ctx)
	if err != nil {
		h.finish(holder.Result{Outcome: hook.Failed, Err: err})
		return
	}
	instances := c.Held(name)
	if len(instances) == 0 {
		h.finish(holder.Result{Outcome: hook.NotReady, Err: usagef("there is nothing to hold: %s", known(c.Names()))})
		return
	}
	terms := wire.Terms(h.personality, c.Hooks[name])
	h.afterDead(ctx)
	var desk *holder.Desk
	err = holder.WriteStatus(h.dirs.Run, name, holder.Status{})
	if err == nil {
		desk, err = holder.Listen(h.dirs.Run, name, terms)
	}
	if err != nil {
		h.finish(holder.Result{Outcome: hook.Failed, Err: err})
		return
	}
	go func() { // a pre that was killed by its host: nobody knows that anything is held
		<-h.caller.Gone()
		if !h.answered.Load() {
			cancel()
		}
	}()
	result := h.conduct(ctx, desk, terms, instances, r)
	h.finish(result)
	desk.Close(h.dirs.Run, name, h.journal.with(h.result(result)))
}

// lock waits for an earlier holder that is on its way out.
func (h *holding) lock(ctx context.Context) (*lock.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, giveWay)
	defer cancel()
	for {
		held, err := lock.Take(h.dirs.Run, "hook:"+h.personality.Name())
		if !isBusy(err) || ctx.Err() != nil {
			return held, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// afterDead takes back what a holder before this one left if it died: its freeze belongs to none of the instances.
func (h *holding) afterDead(ctx context.Context) {
	earlier, known, err := holder.ReadStatus(h.dirs.Run, h.personality.Name())
	if err == nil && known && !earlier.Ended {
		err = h.clearUp(ctx)
	}
	if err != nil {
		h.log.Warn("What an earlier hold left is not all taken back: " + err.Error())
	}
}

func (h *holding) conduct(ctx context.Context, desk *holder.Desk, terms hook.Terms, instances []*config.Instance, r holder.Request) holder.Result {
	c := &holder.Conductor{
		Terms: terms, Waited: max(0, time.Since(r.Called)), Calls: desk.Calls(), Details: r.Details, RunDir: h.dirs.Run,
		Run:  func() (*undo.Run, func(), error) { return h.begin(ctx, "") },
		Held: func(r holder.Result) error { return h.say(h.journal.with(r)) },
	}
	for _, i := range instances {
		c.Parties = append(c.Parties, holder.Party{Name: i.Name, Take: func(ctx context.Context, seat *holder.Seat) (*catalog.Point, error) {
			return h.take(ctx, i, terms, seat)
		}})
	}
	return c.Conduct(ctx)
}

// take is a backup whose cut is the host's.
func (h *holding) take(ctx context.Context, i *config.Instance, terms hook.Terms, seat *holder.Seat) (*catalog.Point, error) {
	held, err := lock.Take(h.dirs.Run, i.Name)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	if _, err := h.takeBack(ctx, i.Name); err != nil {
		return nil, err
	}
	amend, err := wishes(h.personality)
	if err != nil {
		return nil, unready{err}
	}
	return h.takePoint(ctx, i, policyUnder(i, terms), company{
		amend:     amend,
		providers: []snapshot.Provider{wire.External(h.personality, terms, seat)},
		ready:     seat.Ready, failed: seat.Leave, frozen: seat.Frozen,
	})
}

// finish tells whoever still waits, and writes down how it ended.
func (h *holding) finish(r holder.Result) {
	r = h.result(r)
	if r.Message != "" {
		h.log.Error(r.Message, "host", h.personality.Name(), "outcome", r.Outcome)
	}
	if err := holder.WriteStatus(h.dirs.Run, h.personality.Name(), holder.Status{Ended: true, Result: r}); err != nil {
		h.log.Error(err.Error())
	}
	if !h.answered.Load() {
		_ = h.say(h.journal.with(r))
	}
	h.keepLog()
}

// say answers the pre that waits.
func (h *holding) say(r holder.Result) error {
	h.answered.Store(true)
	return h.caller.Answer(r)
}

// result puts an error into words that another process can print.
func (h *holding) result(r holder.Result) holder.Result {
	if r.Err != nil {
		r.Message, r.Hint = holder.InWords(r.Err), hintOf(r.Err)
	}
	return r
}

// keepLog appends what this holder logged to STATE/hooks/HOST.log: the host may have thrown it away.
func (h *holding) keepLog() {
	dir := filepath.Join(h.dirs.State, "hooks")
	name := filepath.Join(dir, h.personality.Name()+".log")
	if durable.MakeDir(dir) != nil {
		return
	}
	if info, err := os.Stat(name); err == nil && info.Size() > longLog {
		_ = os.Rename(name, name+".1")
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for _, line := range h.journal.all() {
		_, _ = fmt.Fprintln(f, line)
	}
}
