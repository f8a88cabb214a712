package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/holder"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) hook() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Answer a host that takes the snapshot itself, before and after it",
		Long: `Clouds, hypervisors and backup agents that take the snapshot themselves call the guest before and after it. Hook speaks their
contracts. The call before returns only when every configured server is held; a process of its own then keeps the hold, and releases
everything at a deadline if the call after does not come. The call after records a restore point of each server with its exact
position, and fails if the hold did not last: the host's snapshot is then not application-consistent.`,
		Example: "  holdstill hook install azure --dry-run\n  holdstill hook azure pre\n  holdstill hook azure post",
		Args:    usage(cobra.NoArgs), RunE: a.group,
	}
	for _, p := range wire.Personalities() {
		cmd.AddCommand(a.hookOf(p))
	}
	cmd.AddCommand(a.hookInstall(), a.hookUninstall())
	return cmd
}

func (a *app) hookOf(p hook.Personality) *cobra.Command {
	var forms, examples []string
	for _, f := range p.Forms() {
		forms = append(forms, fmt.Sprintf("  %-32s %s", f[0], f[1]))
		word, _, _ := strings.Cut(f[0], " ")
		examples = append(examples, fmt.Sprintf("  holdstill hook %s %s", p.Name(), word))
	}
	cmd := &cobra.Command{
		Use:     p.Name() + " ARGUMENTS",
		Short:   "Answer " + p.Host(),
		Long:    "Answers " + p.Host() + ", which calls with:\n\n" + strings.Join(forms, "\n"),
		Example: strings.Join(examples, "\n"),
		RunE: func(cmd *cobra.Command, args []string) error {
			call, err := p.Parse(args)
			if err != nil {
				return withHint{usageError{err}, "see holdstill hook " + p.Name() + " --help"}
			}
			result, err := a.called(cmd.Context(), p, call)
			if err != nil {
				result = holder.Failure(err)
				result.Hint = hintOf(err)
			}
			return a.answer(p, call.Verb, result)
		},
	}
	cmd.Flags().SetInterspersed(false) // what the host passes on is not for us to understand
	return cmd
}

func (a *app) called(ctx context.Context, p hook.Personality, call hook.Call) (holder.Result, error) {
	request := holder.Request{Verb: call.Verb, Details: call.Details, Called: time.Now()}
	switch call.Verb {
	case hook.Probe:
		return holder.Result{Outcome: hook.Aborted, Message: "nothing was done, as asked"}, nil
	case hook.Pre:
		return a.pre(ctx, p, request)
	}
	result, err := holder.Ask(ctx, a.dirs.Run, p.Name(), request)
	if errors.Is(err, holder.ErrNobody) {
		return a.late(ctx, p)
	}
	return result, err
}

// pre starts a holder. One of an earlier pre whose post never came gives way first, where the host may call twice.
func (a *app) pre(ctx context.Context, p hook.Personality, r holder.Request) (holder.Result, error) {
	config, err := filepath.Abs(a.configPath) // a holder works in /
	if err != nil {
		return holder.Result{}, err
	}
	inTime, cancel := context.WithTimeout(ctx, p.Terms().Limit)
	defer cancel()
	earlier, err := holder.Ask(inTime, a.dirs.Run, p.Name(), r)
	switch {
	case err == nil && earlier.Outcome == hook.Already:
		return earlier, nil
	case err == nil:
		a.log.Warn("An earlier pre whose post never came was given up", "host", p.Name())
	case !errors.Is(err, holder.ErrNobody):
		a.log.Warn("An earlier hold did not answer: " + err.Error())
	}
	arguments := []string{"--config", config, "hook-holder", p.Name()}
	if a.verbose {
		arguments = append([]string{"-v"}, arguments...)
	}
	result, err := holder.Spawn(ctx, arguments, r)
	if err != nil { // not every host calls post then
		err = errors.Join(err, a.clearUp(ctx))
	}
	return result, err
}

// late answers a call that found no holder, and takes back what a dead one left.
func (a *app) late(ctx context.Context, p hook.Personality) (holder.Result, error) {
	status, known, err := holder.ReadStatus(a.dirs.Run, p.Name())
	if err != nil {
		return holder.Result{}, err
	}
	if !known {
		return holder.NoHold(), nil
	}
	if !status.Ended {
		if err := a.clearUp(ctx); err != nil {
			return holder.Result{}, err
		}
	}
	c, err := a.configuration(ctx)
	if err != nil {
		return holder.Result{}, err
	}
	return status.Late(wire.Terms(p, c.Hooks[p.Name()]), time.Now()), nil
}

// clearUp takes back what dead runs left, and leaves the living alone.
func (a *app) clearUp(ctx context.Context) error {
	names, err := a.instancesLeft(ctx, nil)
	all := []error{err}
	for _, name := range names {
		if _, _, err := a.recoverOne(ctx, name, false); !isBusy(err) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// answer prints what happened, and gives the exit code that the host understands.
func (a *app) answer(p hook.Personality, verb hook.Verb, r holder.Result) error {
	code := p.ExitCode(verb, r.Outcome)
	for _, line := range r.Log {
		fmt.Fprintln(a.stderr, line)
	}
	r.Log = nil
	if a.json {
		return hostAnswer{code: code, err: a.printJSON(struct {
			Host string    `json:"host"`
			Verb hook.Verb `json:"verb"`
			Code int       `json:"code"`
			holder.Result
		}{p.Name(), verb, code, r})}
	}
	var printed error // is no reason for another code: what is held is held
	for _, point := range r.Points {
		printed = errors.Join(printed, a.printPoint(point))
	}
	if code == 0 {
		return hostAnswer{code: code, err: errors.Join(printed, a.say(nil, "%s %s: %s", p.Name(), verb, told(r)))}
	}
	return hostAnswer{code: code, err: fmt.Errorf("%s %s: %s", p.Name(), verb, told(r)), hint: r.Hint}
}

func told(r holder.Result) string {
	if r.Message == "" {
		return string(r.Outcome)
	}
	return string(r.Outcome) + ": " + printable(r.Message)
}

// hostAnswer is an exit code of a host's contract; err is what is still to be told.
type hostAnswer struct {
	code int
	err  error
	hint string
}

func (h hostAnswer) Error() string {
	if h.err == nil {
		return ""
	}
	return h.err.Error()
}

// Hint is what a person can do.
func (h hostAnswer) Hint() string { return h.hint }
