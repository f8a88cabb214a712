package family

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// LockKind is the kind of a hold's deed in the ledger.
const LockKind = "database.lock"

const (
	// idleLimit is how long the server lets a hold idle between its approach and its step if our process is stopped.
	idleLimit = 2 * time.Minute
	// goneLimit is how long a killed connection may take to go.
	goneLimit = 5 * time.Second
)

// hold keeps commits still over a pinned connection. A second connection, open from the start, can break it from outside:
// a statement that waits cannot be taken back over its own connection.
type hold struct {
	server  *Server
	say     Statements
	pinned  *pin
	control *pin
	started time.Time
	loose   *looseTables
	replica bool
	flush   int64 // innodb_flush_log_at_trx_commit; not 1: commits leave their redo in memory, see late

	mu       sync.Mutex
	window   database.Window
	channels []database.Channel
	entered  bool // something was taken early
	holding  bool // commits may be stalled
	dog      *watchdog
}

var _ database.Hold = (*hold)(nil)

// NewHold opens the two connections of a hold and prepares them.
func (s *Server) NewHold(ctx context.Context) (database.Hold, error) {
	h := &hold{server: s, say: s.say}
	if err := h.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare a hold: %w", err), h.Close())
	}
	return h, nil
}

func (h *hold) prepare(ctx context.Context) (err error) {
	if h.pinned, err = h.server.pin(ctx); err != nil {
		return err
	}
	if h.control, err = h.server.pin(ctx); err != nil {
		return err
	}
	if h.started, err = started(ctx, h.control); err != nil {
		return err
	}
	if h.loose, err = h.server.looseTables(ctx); err != nil {
		return err
	}
	channels, err := h.server.channels(ctx, h.control)
	if err != nil {
		return err
	}
	h.replica = len(channels) > 0
	if err := h.control.QueryRowContext(ctx, "SELECT @@global.innodb_flush_log_at_trx_commit").Scan(&h.flush); err != nil {
		return err
	}
	return h.limits(ctx, idleLimit, idleLimit)
}

// limits makes the server end the session if we no longer speak (our process is stopped, the machine sleeps), and its
// statements if they wait too long. It is the backstop behind the watchdog.
func (h *hold) limits(ctx context.Context, idle, wait time.Duration) error {
	_, err := h.pinned.ExecContext(ctx, fmt.Sprintf("SET SESSION wait_timeout = %d, lock_wait_timeout = %d", seconds(idle), seconds(wait)))
	return err
}

func seconds(d time.Duration) int64 { return max(1, int64(math.Ceil(d.Seconds()))) }

// ConnectionID is the server's id of the pinned connection.
func (h *hold) ConnectionID() uint64 { return h.pinned.id }

// Window tells the stall as it was measured.
func (h *hold) Window() database.Window {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.window
}

// Channels tells the replication channels as they stood within the stall.
func (h *hold) Channels() []database.Channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.channels
}

// early and late split the statements: where tables without transactions exist their writers block from Settle on, so that
// it belongs to the stall and its budget.
func (h *hold) early() []string {
	if h.loose.any() {
		return h.say.Enter
	}
	return append(append([]string{}, h.say.Enter...), h.say.Settle...)
}

func (h *hold) late() []string {
	var out []string
	if h.loose.any() {
		out = append(out, h.say.Settle...)
	}
	out = append(out, h.say.Stall)
	if h.flush != 1 { // a cut holds what is in files: without this, acknowledged commits of the last second would be missing
		out = append(out, h.say.FlushLogs)
	}
	out = append(out, h.say.Position...)
	if h.replica {
		out = append(out, h.say.ReplicaStatus) // last: it can wait for somebody's STOP REPLICA
	}
	return out
}

// Approach takes what can be taken before commits stall. When ctx ends it gives up with nothing held.
func (h *hold) Approach(ctx context.Context) error {
	for _, statement := range h.early() {
		h.entered = true
		if err := interruptible(ctx, h.pinned, statement, h.interrupt); err != nil {
			return errors.Join(fmt.Errorf("cannot approach the hold: %w", busy(err)), h.letGo())
		}
	}
	return nil
}

// Step stalls commits and reads the position; its undo lets them go.
func (h *hold) Step(budget database.Budget) undo.Step[database.Position] {
	args := lockArgs{Endpoint: h.server.Endpoint, Connection: h.pinned.id, Started: h.started, User: h.server.Endpoint.User}
	title := fmt.Sprintf("hold the commits of %s", address(h.server.Endpoint))
	manual := fmt.Sprintf("%s -e 'KILL %d'", client(h.server.Endpoint), h.pinned.id)
	return undo.Step[database.Position]{
		Deed: undo.NewDeed(LockKind, "hold", title, manual, args),
		Act:  func(ctx context.Context) (database.Position, error) { return h.stall(ctx, budget) },
		Undo: h.release,
	}
}

func (h *hold) stall(ctx context.Context, budget database.Budget) (database.Position, error) {
	begin := time.Now()
	if err := ctx.Err(); err != nil {
		return database.Position{}, errors.Join(err, h.letGo())
	}
	if err := h.limits(context.WithoutCancel(ctx), budget.Total+time.Second, 2*budget.Grant); err != nil {
		return database.Position{}, h.lost(err)
	}
	if h.say.ClosesTables {
		if err := h.awaitReaders(ctx, begin.Add(budget.Grant)); err != nil {
			return database.Position{}, errors.Join(err, h.letGo())
		}
	}
	h.dog = watch(ctx, h, begin.Add(budget.Grant), begin.Add(budget.Total))
	h.setWindow(func(w *database.Window) { *w = database.Window{Asked: time.Now()} })
	h.setHolding(true)
	rows, err := query(context.WithoutCancel(ctx), h.pinned, strings.Join(h.late(), "; "))
	h.setWindow(func(w *database.Window) { w.Held = time.Now() })
	h.dog.granted()
	if err != nil {
		failed := fmt.Errorf("cannot hold commits: %w", busy(err))
		return database.Position{}, errors.Join(failed, h.letGo())
	}
	if h.flush == 0 {
		if err := h.awaitLogs(); err != nil {
			return database.Position{}, errors.Join(fmt.Errorf("cannot hold commits: %w", err), h.letGo())
		}
	}
	return h.read(rows), nil
}

// read takes the position and the channels from the answers to late's statements.
func (h *hold) read(rows []Row) database.Position {
	var own, status []Row
	for _, r := range rows {
		if isChannel(r) {
			status = append(status, r)
		} else {
			own = append(own, r)
		}
	}
	answer := merge(own)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.channels = h.server.readChannels(status, answer)
	return h.server.position(answer)
}

// release is the undo. The answer to it on the pinned connection is the proof that the hold lasted until now.
// It says ErrHoldLost once: a hold that is lost holds nothing, so taking it back again has nothing to do.
func (h *hold) release(ctx context.Context) error {
	if !h.isHolding() {
		return nil
	}
	// A server that does not answer is told by the end of the connection, which is what the end of the context makes of it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneLimit)
	defer cancel()
	_, err := h.pinned.ExecContext(ctx, strings.Join(h.say.Release, "; "))
	h.setWindow(func(w *database.Window) { w.Released = time.Now() })
	h.setHolding(false)
	why := h.dog.stop()
	if err == nil {
		h.entered = false
		return nil
	}
	if why != "" {
		err = fmt.Errorf("%s: %w", why, err)
	}
	return h.lost(err)
}

// letGo releases whatever a failed attempt took, so that a failure holds nothing. If that fails the hold still counts as
// held, and the deed's undo tries again.
func (h *hold) letGo() error {
	h.dog.stop()
	if !h.entered && !h.isHolding() {
		return nil
	}
	err := h.sayRelease()
	if err != nil {
		err = h.ensureGone()
	}
	if err == nil {
		h.setWindow(func(w *database.Window) { w.Released = time.Now() })
		h.setHolding(false)
		h.entered = false
	}
	return err
}

// sayRelease says it twice if need be: a KILL QUERY that came late hits the release itself.
func (h *hold) sayRelease() (err error) {
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), goneLimit)
		_, err = h.pinned.ExecContext(ctx, strings.Join(h.say.Release, "; "))
		cancel()
		if err == nil || !waited(err) {
			return err
		}
	}
	return err
}

// lost says ErrHoldLost once it is sure that the server dropped the connection; until then the hold may still be there.
func (h *hold) lost(cause error) error {
	if err := h.ensureGone(); err != nil {
		return fmt.Errorf("cannot make sure that the hold is gone: %w", errors.Join(cause, err))
	}
	h.entered = false
	return fmt.Errorf("%w: %w", database.ErrHoldLost, cause)
}

// ensureGone kills the pinned connection and waits until the server forgot it: then nothing of ours holds or waits.
// A server that is gone forgot everything.
func (h *hold) ensureGone() error {
	ctx, cancel := context.WithTimeout(context.Background(), goneLimit)
	defer cancel()
	err := killAndWait(ctx, h.control, h.pinned.id)
	if err == nil || number(err) != 0 {
		return err
	}
	args := lockArgs{Connection: h.pinned.id, Started: h.started, User: h.server.Endpoint.User}
	if again := h.server.breakLock(ctx, args); again == nil || absent(again) {
		return nil
	}
	return err
}

func (h *hold) interrupt() { h.kill("QUERY") }

// kill breaks the pinned connection, or what it says, from outside. It does not wait for long for a server that does not answer.
func (h *hold) kill(what string) {
	ctx, cancel := context.WithTimeout(context.Background(), goneLimit)
	defer cancel()
	_, _ = h.control.ExecContext(ctx, fmt.Sprintf("KILL %s %d", what, h.pinned.id))
}

// Close gives back what is still taken and closes the connections.
func (h *hold) Close() error {
	var all []error
	if h.pinned != nil && h.control != nil {
		all = append(all, h.letGo())
	}
	for _, p := range []*pin{h.pinned, h.control} {
		if p != nil {
			_ = p.Close() // closing a dead connection fails, and that is no news
			h.server.forget(p.id)
		}
	}
	h.pinned, h.control = nil, nil
	return errors.Join(all...)
}

func (h *hold) setWindow(change func(*database.Window)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.window)
}

func (h *hold) setHolding(to bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = to
}

func (h *hold) isHolding() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holding
}

// busy marks the errors of a wait that was given up.
func busy(err error) error {
	if waited(err) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", database.ErrBusy, err)
	}
	return err
}
