package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/lock"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/wire"
)

func (a *app) binlog() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "binlog",
		Short: "The archive of a server's binary logs",
		Long: `The binary logs of a server, kept beside it bit for bit as they are written, the active one included. Together with a restore
point they lead to any moment since.`,
		Example: `  holdstill binlog archive shop      follow the server until told to stop
  holdstill binlog status            is it running, how far behind, are there gaps
  holdstill binlog list              the archived logs
  holdstill binlog find --table shop.orders --kind drop,truncate
  holdstill binlog fetch binlog.000012 --out /srv/logs`,
		Args: usage(cobra.NoArgs),
		RunE: a.group,
	}
	cmd.AddCommand(a.binlogArchive(), a.binlogStatus(), a.binlogList(), a.binlogFind(), a.binlogFetch(), a.binlogPurge())
	return cmd
}

func (a *app) binlogArchive() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "archive [INSTANCE]",
		Short: "Archive the binary logs of a server as it writes them",
		Long: `Archive follows a server, source or replica, as a replica would, and keeps its binary logs bit for bit. What the server has sent
is verified, and synced within half a second. It runs until it is told to stop (SIGTERM, Ctrl-C), and goes on exactly where it ended
whenever it is started again, killed or not.

Where the server's logs do not meet what is archived (purged before they were read, reset, another server) there is a gap: it is logged,
shown by binlog status, and no replay goes across it.

With servers in the configuration's section binlog, it goes on with another one of the topology when the one that it follows stays away.
The account needs REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR) only.`,
		Example: `  holdstill binlog archive
  holdstill binlog archive shop
  holdstill binlog archive shop --once     all that there is now, then end: for cron`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBinlogArchive(cmd.Context(), args, once) },
	}
	cmd.Flags().BoolVar(&once, "once", false, "archive what there is now, and end")
	return cmd
}

func (a *app) runBinlogArchive(ctx context.Context, args []string, once bool) (err error) {
	i, err := a.instance(ctx, args)
	if err != nil {
		return err
	}
	sources, err := wire.BinlogSources(i)
	if err != nil {
		return err
	}
	held, err := a.lockArchive(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	failover := duration(i.Binlog.FailoverAfter)
	if failover == 0 {
		failover = archive.DefaultFailover
	}
	shipped, err := a.shipLogs(ctx, i, once)
	if err != nil {
		return err
	}
	err = archive.Run(ctx, archive.Options{
		Dir: a.dirs.BinlogArchive(i), Instance: i.Name, Host: hostname.Name(), Sources: sources, Failover: failover, Once: once, Log: a.log,
	})
	return errors.Join(err, shipped())
}

// shipLogs begins to send what is archived to the repository, if there is one. What it returns is called when nothing more is archived, and sends
// the rest. The archiver never waits for it meanwhile.
func (a *app) shipLogs(ctx context.Context, i *config.Instance, once bool) (func() error, error) {
	c, err := a.written()
	if err != nil {
		return nil, err
	}
	_, err = wire.RepositoryOf(c, a.dirs)
	if errors.Is(err, wire.ErrNoRepository) || err == nil && !i.Binlog.Ships() {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	newShipper := func() *offsite.Shipper {
		return wire.LogShipper(i, a.dirs, func(ctx context.Context) (repository.Store, error) {
			return a.openStoreAsking(context.WithoutCancel(ctx), nobody)
		}, a.log)
	}
	if once {
		return func() error {
			if err := errors.Join(newShipper().Once(ctx), a.shipFills(ctx, i, newShipper)); err != nil {
				return fmt.Errorf("what is archived is not all shipped: %w", err)
			}
			return nil
		}, nil
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // it ends after the archiver
	var both sync.WaitGroup
	both.Go(func() { newShipper().Run(running) })
	both.Go(func() { a.shipFillsAlways(running, i, newShipper) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		both.Wait()
	}()
	return func() error {
		stop()
		select {
		case <-done:
		case <-time.After(offsite.Farewell): // a store that hangs lets nobody go
			a.log.Warn("the repository does not answer: the last binary logs are shipped when the archiver runs again", "instance", i.Name)
		}
		return nil
	}, nil
}

// nobody is there to be asked for a password.
func nobody(context.Context, string) (string, error) {
	return "", fmt.Errorf("an archiver cannot ask for the repository's password: %w", secret.ErrNone)
}

// lockArchive keeps a second archiver away. It tries again for a moment, since binlog status takes the lock for one to see whether it is free.
func (a *app) lockArchive(i *config.Instance) (*lock.Lock, error) {
	for tries := 0; ; tries++ {
		held, err := lock.Take(a.dirs.BinlogLocks(), i.Name)
		switch {
		case err == nil || !isBusy(err):
			return held, err
		case tries == 3:
			return nil, withHint{fmt.Errorf("the archive of %s has its archiver: %w", i.Name, err), "it follows the server as it is; holdstill binlog status " + i.Name + " shows how far it is"}
		}
		time.Sleep(50 * time.Millisecond)
	}
}
