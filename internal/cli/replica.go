package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/replica"
)

func (a *app) replica() *cobra.Command {
	f := &copyFlags{}
	r := replica.Request{}
	cmd := &cobra.Command{
		Use:   "replica POINT",
		Short: "Make a new replica from a restore point, running and caught up",
		Long: `Replica restores a point, gives the copy an identity of its own (a server_id that is free at the source and its replicas,
a server_uuid, addresses, relay logs), starts it, lets it follow the source from the point's exact coordinates, and
waits until it has caught up. The source is the one of the point's own replication, or the point's instance itself.`,
		Example: `  holdstill replica latest --datadir /srv/replica --config-dir /srv/replica.conf
  holdstill replica latest --instance shop --datadir /srv/r2 --port 3307 --server-id 42 --bind-address 10.0.0.12
  holdstill replica latest --datadir /srv/r3 --source 10.0.0.11:3306 --source-client-option-file /etc/holdstill/repl.cnf`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Request = f.request
			return a.runReplica(cmd.Context(), r, f, args[0])
		},
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.request.BindAddress, "bind-address", "auto", "address of the new server; auto is the one that reaches the source")
	flags.StringVar(&r.ServerID, "server-id", "auto", "a number that is free among the source and its replicas; auto finds one")
	flags.StringVar(&r.Source, "source", "", "HOST:PORT of the source (default: from the point)")
	flags.StringVar(&r.SourceClientOptionFile, "source-client-option-file", "", "[client] user and password of the replication account (default: what the copy itself knows)")
	flags.StringVar(&r.RelayLogs, "relay-logs", replica.Reset, "reset: fetch again from the point's coordinates; keep: go on with the copied relay logs")
	flags.DurationVar(&r.CatchUp, "catch-up", replica.DefaultCatchUp, "how long to wait until it has caught up")
	return cmd
}

func (a *app) runReplica(ctx context.Context, r replica.Request, f *copyFlags, name string) error {
	if r.Datadir == "" {
		return usagef("say where: --datadir DIR")
	}
	s := &stock{app: a}
	defer s.close()
	point, err := a.find(ctx, s, name, f.instance)
	if err != nil {
		return err
	}
	if err := needsServer(point); err != nil {
		return err
	}
	r.Claims = filepath.Join(a.dirs.State, "replicas")
	// A replica's point knows the account that it replicates with, in the copy; a source's knows none.
	if i, err := a.instance(ctx, []string{point.Instance}); err == nil && r.SourceClientOptionFile == "" && len(point.Sources) == 0 {
		r.SourceClientOptionFile = i.Replication.ClientOptionFile
	}
	run, done, err := a.begin(ctx, "")
	if err != nil {
		return err
	}
	defer done()
	deps, account, err := a.restoring(ctx, s, f, &point, r.Datadir, run.ID, false)
	if err != nil {
		return err
	}
	r.Point, r.Account = point, account
	result, err := replica.Make(ctx, run, r, deps)
	var behind *replica.NotCaughtUp
	if err != nil && !errors.As(err, &behind) {
		return refused(errors.Join(err, run.Unwind(ctx)))
	}
	if behind != nil {
		// It stays and runs, and the error says so: what there is to know of it goes to the log, the error to where errors go.
		a.log.Warn("The replica is left running", "socket", behind.Result.Socket, "datadir", behind.Result.Datadir, "server_id", behind.Result.ServerID)
		return err
	}
	return a.printReplica(result)
}

func (a *app) printReplica(r *replica.Result) error {
	if a.json {
		return a.printJSON(r)
	}
	return a.printRestored("Replica from point", &r.Result,
		[2]string{"identity", strings.TrimSpace(fmt.Sprintf("server id %d %s", r.ServerID, r.ServerUUID))},
		[2]string{"replicates", "from " + strings.Join(r.Sources, ", ") + ", caught up after " + millis(r.CatchUpMS)})
}
