package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/browse"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/wire"
)

// mountStored shows what the repository holds of a point, from this process or from one of its own.
func (a *app) mountStored(ctx context.Context, f *mountFlags, name, dir string) error {
	ask := secret.Terminal(a.stdin, a.stderr)
	if f.foreground {
		return a.serveMount(ctx, name, dir, ask, func() error { return a.tellStored(dir, os.Getpid(), "") })
	}
	config, err := filepath.Abs(a.configPath) // the process works in /
	if err != nil {
		return err
	}
	arguments := []string{"--config", config, "mount-server", name, dir}
	if a.verbose {
		arguments = append([]string{"-v"}, arguments...)
	}
	word, err := browse.Spawn(ctx, arguments, ask)
	if err != nil {
		return err
	}
	if !word.Ready {
		return relayed{word.Error, word.Hint, kindOf(word.Code, word.Error)}
	}
	return a.tellStored(dir, word.PID, a.mountLog(dir))
}

func (a *app) tellStored(dir string, pid int, log string) error {
	p, err := pointAt(dir)
	if err != nil {
		return err
	}
	return a.printMounted(p, mounted{Dir: dir, From: fromRepository, PID: pid, Log: log})
}

// kindOf is an error that leads to an exit code.
func kindOf(code int, message string) error {
	switch code {
	case codeUsage:
		return usageError{errors.New(message)}
	case codeNotFound:
		return catalog.ErrNotFound
	case codeBusy:
		return lock.ErrBusy
	}
	return nil
}

// mountServer is the detached process that serves a mount.
func (a *app) mountServer() *cobra.Command {
	return &cobra.Command{
		Use: "mount-server POINT DIR", Hidden: true, Short: "Serve a mounted point of the repository", Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			caller, err := browse.Called()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			var ready atomic.Bool
			go func() { // a command that was interrupted: nobody knows of the mount
				<-caller.Gone()
				if !ready.Load() {
					cancel()
				}
			}()
			log, err := a.openMountLog(args[1])
			if err == nil {
				defer closeMountLog(log)
				a.log = newLogger("text", a.verbose, log)
				err = a.serveMount(ctx, args[0], args[1], caller.Ask, func() error { ready.Store(true); return caller.Say(browse.Word{Ready: true}) })
			}
			if err != nil && !ready.Load() {
				_ = caller.Say(browse.Word{Error: err.Error(), Hint: hintOf(err), Code: exitCode(err)})
			}
			return err
		},
	}
}

func (a *app) mountLog(dir string) string {
	return filepath.Join(a.mounts(), browse.NameOf(dir)+".log")
}

func (a *app) openMountLog(dir string) (*os.File, error) {
	if err := durable.MakeDir(a.mounts()); err != nil {
		return nil, err
	}
	return os.OpenFile(a.mountLog(dir), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
}

// closeMountLog keeps a log only if it says something.
func closeMountLog(f *os.File) {
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		_ = os.Remove(f.Name())
	}
	_ = f.Close()
}

// serveMount shows a point of the repository and returns when it was unmounted. Ready is called once it answers.
func (a *app) serveMount(ctx context.Context, name, dir string, ask secret.Ask, ready func() error) (err error) {
	// An interrupt ends the mount, and not the reads of those who still have it open.
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	opening := context.AfterFunc(ctx, cancel)
	store, tree, point, err := a.openStored(reading, name, ask)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close(reading), store.Close(reading)) }()
	note := &browse.Note{Dir: dir, Point: point.Point, Instance: point.Instance, From: string(fromRepository)}
	if err := a.promiseMount(note); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, note.Forget()) }()
	view, err := browse.Attach(reading, tree, dir, a.log)
	if err != nil {
		return err
	}
	if opening() {
		err = ready()
	}
	if err != nil || ctx.Err() != nil { // nobody knows of it
		return errors.Join(err, ctx.Err(), view.Close())
	}
	return a.serveOn(ctx, view, dir)
}

// serveOn waits for the umount. An interrupt takes the mount out of sight, and waits for those who have it open.
func (a *app) serveOn(ctx context.Context, view *browse.View, dir string) error {
	done := make(chan struct{})
	go func() { view.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	err := view.Close()
	if !errors.Is(err, browse.ErrBusy) {
		return err
	}
	for _, u := range browse.Users(dir) {
		a.log.Warn("Asked to end, and still in use: " + u.String())
	}
	if m, err := browse.At(dir); err == nil && m != nil {
		err = browse.Detach(m)
		if err != nil {
			return err
		}
	}
	<-done
	return nil
}

// openStored opens the point in the repository.
func (a *app) openStored(ctx context.Context, id string, ask secret.Ask) (repository.Store, repository.Tree, repository.Stored, error) {
	store, err := a.openStoreAsking(ctx, ask)
	if err != nil {
		return nil, nil, repository.Stored{}, err
	}
	point, err := wire.FindStored(ctx, store, id)
	var tree repository.Tree
	if err == nil {
		tree, err = store.Open(ctx, point)
	}
	if errors.Is(err, repository.ErrNotThere) {
		err = relayed{err.Error(), "see holdstill points list", catalog.ErrNotFound}
	}
	if err != nil {
		return nil, nil, point, errors.Join(err, store.Close(ctx))
	}
	return store, tree, point, nil
}
