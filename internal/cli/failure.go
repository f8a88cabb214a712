package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/undo"
)

// The exit codes are a contract.
const (
	codeDone     = 0
	codeFailed   = 1 // nothing left behind
	codeUsage    = 2 // or configuration
	codeBelow    = 3 // recorded, but below the consistency that was required
	codeNotFound = 4
	codeBusy     = 5
	codeStuck    = 6 // something could not be undone
)

// usageError is a fault of the command line or the configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errBelow means that a point was recorded with less than was required.
var errBelow = errors.New("the point is below the consistency that was required")

// besides is an error beside which the command printed its document: with --json it is told on stderr, so that stdout has one document.
type besides struct{ error }

func (e besides) Unwrap() error { return e.error }

// onlyHere is what came in the way of shipping a point that was just recorded.
type onlyHere struct{ error }

func (e onlyHere) Unwrap() error        { return e.error }
func (e onlyHere) Is(target error) bool { return target == errRecorded }

// errUnready is doctor's: it has said everything already.
var errUnready = errors.New("a backup would not reach application consistency")

// hinted is an error that knows what a person can do.
type hinted interface{ Hint() string }

type withHint struct {
	error
	hint string
}

func (e withHint) Hint() string  { return e.hint }
func (e withHint) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	var stuck *undo.Stuck
	var host hostAnswer
	switch {
	case err == nil:
		return codeDone
	case errors.As(err, &host):
		return host.code
	case errors.As(err, &stuck):
		return codeStuck
	case errors.Is(err, errBelow):
		return codeBelow
	case errors.Is(err, errRecorded): // whatever the cause: what a repository lacks is not what was asked for
		return codeFailed
	case errors.As(err, &usage):
		return codeUsage
	case errors.Is(err, catalog.ErrNotFound):
		return codeNotFound
	case errors.Is(err, catalog.ErrAmbiguous):
		return codeUsage
	case errors.Is(err, lock.ErrBusy):
		return codeBusy
	}
	if code, _ := repositoryFault(err); code != 0 {
		return code
	}
	return codeFailed
}

func hintOf(err error) string {
	var h hinted
	switch {
	case len(allStuck(err)) > 0:
		return stuckHint(err)
	case errors.As(err, &h):
		return h.Hint()
	case errors.Is(err, lock.ErrBusy):
		return "wait for the other run, or stop it"
	case errors.Is(err, database.ErrBusy):
		return "try again when the server is quieter, or raise patience and max_stall"
	case errors.Is(err, catalog.ErrAmbiguous):
		return "give more letters of the id: see holdstill points list"
	case errors.Is(err, catalog.ErrNotFound):
		return "see holdstill points list"
	case isFull(err):
		return "make room on that file system, and run the same command again"
	}
	_, hint := repositoryFault(err)
	return hint
}

// stuckHint is what to type for everything that could not be taken back, in the order in which it was tried.
func stuckHint(err error) string {
	var hints []string
	for _, s := range allStuck(err) {
		if h := s.Hint(); h != "" {
			hints = append(hints, h)
		}
	}
	return strings.Join(append(hints, "then: holdstill recover (or, if that is not possible, holdstill recover --acknowledge)"), "; ")
}

// allStuck finds every Stuck in a tree of errors; errors.As finds the first only.
func allStuck(err error) []*undo.Stuck {
	switch e := err.(type) {
	case *undo.Stuck:
		return []*undo.Stuck{e}
	case interface{ Unwrap() error }:
		return allStuck(e.Unwrap())
	case interface{ Unwrap() []error }:
		var out []*undo.Stuck
		for _, inner := range e.Unwrap() {
			out = append(out, allStuck(inner)...)
		}
		return out
	}
	return nil
}

// report tells the error once, in the form that was asked for, and returns the exit code.
func report(err error, asJSON bool, stdout, stderr io.Writer) int {
	code := exitCode(err)
	var host hostAnswer
	var aside besides
	if errors.As(err, &host) && host.err == nil || err == nil || errors.Is(err, errUnready) {
		return code // what there is to say was said
	}
	if asJSON && (errors.As(err, &aside) || errors.Is(err, errRecorded)) {
		asJSON = false // there is a document on stdout
	}
	if asJSON && (errors.Is(err, errBelow) || errors.Is(err, errDamages)) {
		return code // the document says it
	}
	message := err.Error()
	if errors.Is(err, context.Canceled) {
		message = "interrupted: " + message
	}
	if asJSON {
		body := map[string]any{"error": map[string]any{"code": code, "message": message, "hint": hintOf(err)}}
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(body)
		return code
	}
	fmt.Fprintln(stderr, "holdstill: "+message)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(stderr, "  hint: "+hint)
	}
	return code
}

// isFull tells that a disk is full: ours, or that of a server which says so.
func isFull(err error) bool {
	const tableFull, diskFull = 1114, 1021
	var said *mysql.MySQLError
	if errors.As(err, &said) && (said.Number == tableFull || said.Number == diskFull || strings.Contains(said.Message, "No space left")) {
		return true
	}
	return errors.Is(err, syscall.ENOSPC)
}

func isBusy(err error) bool { return errors.Is(err, lock.ErrBusy) }
