package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// options are those of a campaign.
type options struct {
	n            int
	seed         uint64
	only         string
	restoreEvery int
	dir          string
	binary       string
	verbose      bool
}

// worldsAtOnce: much of an injection is waiting, and two cores have room for a third. More would measure each other.
const worldsAtOnce = 3

// campaign goes through all worlds, some at a time.
func campaign(ctx context.Context, o options, out io.Writer) (*tally, error) {
	var wanted []place
	for _, p := range places() {
		if chosen := os.Getenv("HOLDSTILL_MATRIX"); chosen != "" && !slices.Contains(strings.Split(chosen, ","), p.product) {
			fmt.Fprintf(out, "ATTENTION: HOLDSTILL_MATRIX=%s leaves out %s\n", chosen, p)
			continue
		}
		if strings.HasPrefix(o.only, p.String()) || strings.HasPrefix(p.String(), o.only) {
			wanted = append(wanted, p)
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("no world is called %q", o.only)
	}
	t := &tally{options: o, out: out}
	fmt.Fprintf(out, "faults: %d worlds, %d faults, seed %d\n", len(wanted), o.n, o.seed)
	queue := make(chan int)
	var wait sync.WaitGroup
	var mu sync.Mutex
	var all []error
	for range min(worldsAtOnce, len(wanted)) {
		wait.Go(func() {
			for k := range queue {
				if err := visit(ctx, o, wanted[k], share(o.n, k, len(wanted)), t); err != nil {
					mu.Lock()
					all = append(all, err)
					mu.Unlock()
				}
			}
		})
	}
	for k := range wanted {
		queue <- k
	}
	close(queue)
	wait.Wait()
	_ = os.Remove(o.dir) // empty unless a lab could not be cleaned
	return t, errors.Join(all...)
}

// share is the kth world's part of n faults.
func share(n, k, worlds int) int { return (n + worlds - 1 - k) / worlds }

// visit makes one world and injects its faults. A world that a fault made useless is made anew, and the campaign goes on.
func visit(ctx context.Context, o options, p place, n int, t *tally) error {
	dir := filepath.Join(o.dir, strings.ReplaceAll(p.String(), "/", "-"))
	random := dice(p.String(), o.seed)
	var left []injection
	drawn := false
	for tries := 0; ; tries++ {
		w, passed, err := openWorld(ctx, p, fmt.Sprintf("%s-%d", dir, tries), o)
		if err == nil {
			if !drawn {
				left, drawn = chosen(o, p, passed, n, random), true
			}
			left, err = w.injectAll(ctx, o, left, t)
			err = errors.Join(err, w.close())
		}
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if drawn && len(left) == 0 && errors.Is(err, errUseless) {
			return nil // it is told, and there is nothing left to do here
		}
		if tries == worldTries {
			return err
		}
		t.note(fmt.Sprintf("the campaign's own trouble, the world is made anew: %v", err))
	}
}

// worldTries is how often a world may be made anew.
const worldTries = 8

var errUseless = errors.New("the world is of no more use")

func openWorld(ctx context.Context, p place, dir string, o options) (*world, map[string][]string, error) {
	w, err := newWorld(ctx, p, dir, o.binary)
	if err != nil {
		return nil, nil, err
	}
	w.every = max(1, o.restoreEvery)
	passed, err := w.passed()
	if err != nil {
		return nil, nil, errors.Join(err, w.close())
	}
	return w, passed, nil
}

func chosen(o options, p place, passed map[string][]string, n int, random *rand.Rand) []injection {
	if i, ok := parse(o.only); ok {
		var out []injection
		for range max(1, o.n) {
			out = append(out, i)
		}
		return out
	}
	return draw(p, passed, n, random)
}

// injectAll returns what is left to do when the world broke.
func (w *world) injectAll(ctx context.Context, o options, list []injection, t *tally) ([]injection, error) {
	for k, i := range list {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		v, err := w.inject(i, o.seed)
		if err == nil && v.again() { // two cores have other things to do: what does not hold fails twice
			t.note(fmt.Sprintf("once more, as the run ended too early, or a bound did not hold: %s: %q", i, v.bounds))
			first := v
			if v, err = w.inject(i, o.seed); err != nil && ctx.Err() == nil {
				t.add(first) // it left a world in which nothing can be tried again, so it counts
			}
		}
		if ctx.Err() != nil { // what it saw may be the campaign's own end
			return nil, ctx.Err()
		}
		if err != nil {
			return list[k+1:], err
		}
		t.add(v)
		if len(v.left) > 0 { // what follows would only find it again
			return list[k+1:], fmt.Errorf("%w after %s", errUseless, i)
		}
	}
	return nil, nil
}

// tally sums up.
type tally struct {
	options
	out io.Writer

	mu                                      sync.Mutex
	injected, missed, left, lost, invented  int
	claims, bounds, restored                int
	longestFreeze, longestStall, longestLet time.Duration
}

func (t *tally) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(t.out, text)
}

func (t *tally) add(v *verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.missed {
		t.missed++
	} else {
		t.injected++
	}
	t.left += len(v.left)
	t.lost += v.lost
	t.invented += v.invented
	t.claims += len(v.claims)
	t.bounds += len(v.bounds)
	t.restored += v.restored
	t.longestFreeze = max(t.longestFreeze, v.frozen)
	t.longestStall = max(t.longestStall, v.stalled)
	t.longestLet = max(t.longestLet, v.letGo)
	if v.red() {
		t.tell(v)
	} else if t.verbose {
		what := "ok "
		if v.missed {
			what = "-- "
		}
		if v.missed {
			fmt.Fprintf(t.out, "    %s\n", lastLine(v.said))
		}
		fmt.Fprintf(t.out, what+" %s: exit code %d, frozen %s, stalled %s, %s\n", v.injection, v.code, v.frozen.Round(time.Millisecond), v.stalled.Round(time.Millisecond), v.took.Round(time.Millisecond))
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func (t *tally) tell(v *verdict) {
	fmt.Fprintf(t.out, "RED %s: exit code %d, seed %d; again: make faults N=1 SEED=%d ONLY=%s\n", v.injection, v.code, t.seed, t.seed, v.injection)
	for what, list := range map[string][]string{"left behind": v.left, "wrong": v.claims, "bound": v.bounds} {
		for _, text := range list {
			fmt.Fprintf(t.out, "    %s: %s\n", what, text)
		}
	}
	if v.lost+v.invented > 0 {
		fmt.Fprintf(t.out, "    %d commits lost, %d invented\n", v.lost, v.invented)
	}
	fmt.Fprintf(t.out, "    it said:\n        %s\n", strings.ReplaceAll(strings.TrimSpace(v.said), "\n", "\n        "))
}

// green is the verdict: all that must be zero is zero, and something was injected.
func (t *tally) green() bool {
	return t.injected > 0 && t.left+t.lost+t.invented+t.claims+t.bounds == 0
}

// print ends with the line that others read.
func (t *tally) print(out io.Writer) {
	fmt.Fprintf(out, "%d draws met a run that ended before its boundary; %d points were restored and compared commit by commit; %d bounds exceeded\n", t.missed, t.restored, t.bounds)
	fmt.Fprintf(out, "longest stall of a commit %d ms; longest until all was let go after a SIGKILL %d ms\n", t.longestStall.Milliseconds(), t.longestLet.Milliseconds())
	fmt.Fprintf(out, "faults: %d injected, %d left behind, %d commits lost or invented, %d wrong claims, longest freeze %d ms\n",
		t.injected, t.left, t.lost+t.invented, t.claims, t.longestFreeze.Milliseconds())
}
