package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/durable"
)

// inPlace puts the point where the instance's own data are. Those are kept aside, and come back if anything fails.
func (j *Job) inPlace(ctx context.Context) (*Result, error) {
	if err := j.aside(ctx); err != nil {
		return nil, err
	}
	if err := j.Place(ctx); err != nil {
		return nil, err
	}
	if err := j.Configure(ctx); err != nil {
		return nil, err
	}
	config := j.receipts[len(j.receipts)-1]
	if err := j.FirstBoot(ctx, j.onward()); err != nil {
		return nil, err
	}
	// The option file was for the first boot only: the instance has its own.
	if err := j.Run.Undo(ctx, config); err != nil {
		return nil, err
	}
	j.Result.OptionFile, j.Result.Socket, j.Result.Port, j.Result.Bind = "", "", 0, ""
	if err := j.startService(ctx); err != nil {
		return nil, err
	}
	return j.Keep()
}

func (j *Job) aside(ctx context.Context) error {
	dir := j.Plan.Request.Datadir
	args := asideArgs{Datadir: dir, Aside: dir + ".before-" + j.Run.ID}
	j.deps.Stage("aside", "keeping the old data as %s", args.Aside)
	manual := fmt.Sprintf("mv %s %s", shellQuoted(args.Aside), shellQuoted(dir))
	err := act(ctx, j, deedOf(kindAside, "aside", "keep the old data aside as "+args.Aside, manual, args), func(context.Context) error {
		if where := serverAt(dir); where != "" {
			return fmt.Errorf("cannot set %s aside: a server is running there: %s", dir, where)
		}
		return errors.Join(os.Rename(dir, args.Aside), durable.SyncDir(filepath.Dir(dir)))
	})
	j.Result.Aside = args.Aside
	return err
}

// startService starts the instance by its service. If that is to be taken back by a later process, only the server is known then.
func (j *Job) startService(ctx context.Context) error {
	if j.deps.StartService == nil {
		return nil // it stays stopped, as it was found
	}
	j.deps.Stage("server", "starting the instance by its service")
	dir := j.Plan.Request.Datadir
	args := serverArgs{Datadir: dir, Run: j.Run.ID}
	var back func(context.Context) error
	if stop := j.deps.StopService; stop != nil {
		back = func(ctx context.Context) error { return errors.Join(stop(ctx), stopServer(ctx, args)) }
	}
	deed := deedOf(kindService, "server", "start the service of "+j.Plan.Request.Point.Instance, j.deps.StopCommand, args)
	_, err := actFor(ctx, j, deed, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, j.deps.StartService(ctx)
	}, back)
	if err != nil {
		return fmt.Errorf("cannot start the instance on the restored data: %w", err)
	}
	j.Result.Running = true
	j.verified("the instance answers, started by its service")
	if where := serverAt(dir); where != "" {
		pid, _, _ := strings.Cut(strings.TrimPrefix(where, "process "), " ")
		_, _ = fmt.Sscan(pid, &j.Result.PID)
	}
	return nil
}
