package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) repository() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repository",
		Short: "The store that keeps points off this machine",
		Long: `A repository keeps restore points in a directory, on S3, Azure, Google or over SFTP: deduplicated, compressed, encrypted.
With one, backup sends every point there, and other machines that are connected to it can restore them.

Where it is stands in the section repository of the configuration; without a section, init and connect take it from flags
and remember it, except for the password: of that only where it comes from. See docs/repository.md.`,
		Example: `  holdstill repository init --url /srv/backups                    a new one; asks for a password, twice
  holdstill repository init --url s3://bucket/holdstill --credentials-file /etc/holdstill/s3.ini \
      --password-file /etc/holdstill/repository.password
  holdstill repository init                                       as the configuration says
  holdstill repository connect --url sftp://backup@nas/srv/backups --credentials-file /root/.ssh/id_ed25519 \
      --known-hosts-file /root/.ssh/known_hosts                   from another machine
  holdstill repository status
  holdstill repository check latest                               reads back all of a point
  holdstill repository maintain                                   gives back space; once a day is right`,
		Args: exactly(0),
		RunE: a.group,
	}
	cmd.AddCommand(a.repositoryInit(), a.repositoryConnect(), a.repositoryStatus(), a.repositoryCheck(), a.repositoryMaintain())
	return cmd
}

func (a *app) repositoryInit() *cobra.Command {
	var replace bool
	at := newPlace()
	bindLock(at.flags, &at.given)
	cmd := &cobra.Command{
		Use: "init", Short: "Make a new repository in an empty place, and connect this machine to it", Args: exactly(0),
		Example: "  holdstill repository init --url /srv/backups --password-file /etc/holdstill/repository.password",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.initRepository(cmd.Context(), at, replace)
		},
	}
	cmd.Flags().AddFlagSet(at.flags)
	cmd.Flags().BoolVar(&replace, "replace", false, "also if this machine is connected to a repository, which stays as it is")
	return cmd
}

func (a *app) repositoryConnect() *cobra.Command {
	at := newPlace()
	cmd := &cobra.Command{
		Use: "connect", Short: "Connect this machine to a repository that exists", Args: exactly(0),
		Example: "  holdstill repository connect --url /srv/backups --password-file /etc/holdstill/repository.password",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.connectRepository(cmd.Context(), at) },
	}
	cmd.Flags().AddFlagSet(at.flags)
	return cmd
}

func (a *app) repositoryStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Where the repository is, what it takes, whose points it holds", Args: exactly(0), Example: "  holdstill repository status --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(ctx context.Context, store repository.Store) error {
				shown, err := a.describeStore(ctx, store)
				if err != nil {
					return err
				}
				return a.printStore(shown, "Repository "+shown.ID)
			})
		},
	}
}

func (a *app) repositoryCheck() *cobra.Command {
	read := readByDefault
	cmd := &cobra.Command{
		Use: "check [POINT]", Short: "Look for damage, and name the points and files that it hits", Args: atMost(1),
		Long: `Check looks at every point, or at one: that everything it consists of is there, and, for a part that is drawn by chance, that it
can be read and is what was stored. It exits with 1 if anything is damaged.`,
		Example: "  holdstill repository check              a tenth of the content\n  holdstill repository check --read 100   all of it\n  holdstill repository check latest       all of one point",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !cmd.Flags().Changed("read") {
				read = 100
			}
			if !(read >= 0 && read <= 100) { // not a number is neither
				return usagef("--read is a percentage, from 0 to 100, not %v", read)
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, store repository.Store) error {
				return a.checkRepository(ctx, store, args, read)
			})
		},
	}
	cmd.Flags().Float64Var(&read, "read", readByDefault, "percentage of the content to read; 100 if a POINT is given")
	return cmd
}

// readByDefault is a tenth: run once a day, it finds what goes bad in a store within a month or two, at a tenth of the traffic.
const readByDefault = 10.0

func (a *app) repositoryMaintain() *cobra.Command {
	return &cobra.Command{
		Use: "maintain", Short: "Give back what no point needs any more", Args: exactly(0), Example: "  holdstill repository maintain",
		Long: `Maintain gives back the space of points that were removed, and keeps the repository fast. What is no longer needed goes a day
later at the soonest, since another machine could be about to use it again. One machine does it: the one that made the repository, or another
once that has not for a week; for the others it is no fault to call it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			held, err := a.repositoryLock("maintain")
			if err != nil {
				return err
			}
			defer held.Close()
			return a.withStore(cmd.Context(), func(ctx context.Context, store repository.Store) error {
				done, err := store.Maintain(ctx)
				if err != nil {
					return err
				}
				if done.Ran {
					return a.say(done, "the repository is maintained")
				}
				return a.say(done, "nothing to do: %s", done.Reason)
			})
		},
	}
}

// withStore does something with the repository of this machine.
func (a *app) withStore(ctx context.Context, do func(context.Context, repository.Store) error) (err error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(context.WithoutCancel(ctx))) }()
	return do(ctx, store)
}

// repositoryLock keeps two commands that change the same from each other.
func (a *app) repositoryLock(what string) (*lock.Lock, error) {
	held, err := lock.Take(a.dirs.Run, "repository:"+what)
	if errors.Is(err, lock.ErrBusy) {
		return nil, fmt.Errorf("another holdstill repository command is at work: %w", lock.ErrBusy)
	}
	return held, err
}

func (a *app) initRepository(ctx context.Context, at *place, replace bool) (err error) {
	r, remember, err := a.locate(at)
	if err != nil {
		return err
	}
	held, err := a.repositoryLock("connect")
	if err != nil {
		return err
	}
	defer held.Close()
	before, err := wire.KnownRepositoryID(a.dirs)
	if err == nil && before != "" && !replace {
		err = withHint{usagef("this machine is connected to the repository %s", before),
			"holdstill repository connect, if it is the one that you mean; --replace makes another all the same, and leaves that one as it is"}
	}
	if err != nil {
		return err
	}
	store, err := wire.InitRepository(ctx, r, a.dirs, secret.Twice(secret.Terminal(a.stdin, a.stderr)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(context.WithoutCancel(ctx))) }()
	if err := a.connected(ctx, store, r, remember, before, "Made repository "+store.ID()); err != nil {
		return err
	}
	a.warnOfPassword()
	return nil
}

func (a *app) connectRepository(ctx context.Context, at *place) (err error) {
	r, remember, err := a.locate(at)
	if err != nil {
		return err
	}
	held, err := a.repositoryLock("connect")
	if err != nil {
		return err
	}
	defer held.Close()
	before, err := wire.KnownRepositoryID(a.dirs)
	if err != nil {
		return err
	}
	store, err := wire.ConnectRepository(ctx, r, a.dirs, secret.Terminal(a.stdin, a.stderr))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(context.WithoutCancel(ctx))) }()
	return a.connected(ctx, store, r, remember, before, "Connected to repository "+store.ID())
}

// connected remembers a repository that was just opened for the first time, enters its points into the catalogue, and says what it is.
func (a *app) connected(ctx context.Context, store repository.Store, r *config.Repository, remember bool, before, title string) error {
	if !remember {
		r = nil // the section says it
	}
	if err := a.dirs.KnowRepository(r); err != nil {
		return err
	}
	in, err := a.importPoints(ctx, store)
	if err != nil {
		return err
	}
	shown, err := a.describeStore(ctx, store)
	if err != nil {
		return err
	}
	shown.Imported = &in.entered
	if before != store.ID() {
		shown.Before = before
	}
	return a.printStore(shown, title)
}

// written is the configuration's file; nil if there is none at the default place.
func (a *app) written() (*config.Config, error) {
	c, err := config.Load(a.configPath)
	if errors.Is(err, fs.ErrNotExist) && a.configPath == config.DefaultPath {
		return nil, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
