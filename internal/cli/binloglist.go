package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/pitr"
)

// listedLog is a log as it is listed.
type listedLog struct {
	archive.Log
	Host   string `json:"host"`
	Here   bool   `json:"here"`   // this machine has it
	Stored bool   `json:"stored"` // the repository has it as far as it is told
}

func (l listedLog) where() string {
	switch {
	case l.Here && l.Stored:
		return "here, repository"
	case l.Here:
		return "here"
	}
	return "repository"
}

func (a *app) binlogList() *cobra.Command {
	var whose logFlags
	cmd := &cobra.Command{
		Use:   "list [INSTANCE]",
		Short: "List the archived binary logs",
		Long: `List shows the logs of this machine's archive, and those that the repository has of it besides. On a machine that archives nothing it shows
those of the machine that shipped them to the repository.`,
		Example: "  holdstill binlog list\n  holdstill binlog list shop --json\n  holdstill binlog list shop --host db1",
		Args:    atMost(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runBinlogList(cmd.Context(), args, whose) },
	}
	whose.register(cmd.Flags())
	return cmd
}

func (a *app) runBinlogList(ctx context.Context, args []string, whose logFlags) error {
	found, err := a.findLogs(ctx, args, whose)
	if err != nil {
		return err
	}
	logs := []listedLog{}
	for _, l := range found.links {
		logs = append(logs, listedLog{l.Log, l.Host, l.Path != "", l.Store != nil})
	}
	if a.json {
		return a.printJSON(logs)
	}
	if len(logs) == 0 {
		return a.say(nil, "no binary log is archived yet: start holdstill binlog archive")
	}
	a.printLogs(logs)
	return nil
}

// archived opens an instance's archive, which holds nothing if there is none yet.
func (a *app) archived(ctx context.Context, args []string) (*config.Instance, *archive.Archive, []archive.Log, error) {
	i, err := a.instance(ctx, args)
	if err != nil {
		return nil, nil, nil, err
	}
	store, err := archive.Open(a.dirs.BinlogArchive(i))
	if err != nil {
		return nil, nil, nil, err
	}
	logs, err := store.Logs()
	return i, store, logs, err
}

const toMinute = "2006-01-02 15:04:05"

func (a *app) printLogs(logs []listedLog) {
	t := newTable(a.stdout)
	t.row("SEQ", "LOG", "SERVER", "SIZE", "FIRST (UTC)", "LAST (UTC)", "WHERE", "STATE")
	for _, l := range logs {
		state := "open"
		if l.Closed {
			state = "closed"
		}
		if l.Encrypted {
			state += ", encrypted on the server"
		}
		if l.Gap != nil {
			state += ", behind a gap: " + l.Gap.Reason
		}
		t.row(strconv.Itoa(l.Seq), printable(l.Name), strconv.Itoa(int(l.Server.ID)), humanize.IBytes(uint64(l.Size)), l.First.Format(toMinute), l.Last.Format(toMinute), l.where(), printable(state))
	}
	t.flush()
}

func (a *app) binlogFetch() *cobra.Command {
	var instance, out string
	var whose logFlags
	cmd := &cobra.Command{
		Use:   "fetch LOG...",
		Short: "Export archived binary logs, verified",
		Long: `Fetch writes archived logs into a directory, under the names that they have on the server. LOG is such a name, or the log's
SEQ of binlog list, which tells logs of one name apart. Each event is verified on the way; a damaged log is refused with the offset. What is not
on this machine, or is damaged here, comes from the repository.

The files are what the server has, bit for bit, so mysqlbinlog and mariadb-binlog read them.`,
		Example: `  holdstill binlog fetch binlog.000012 --out /srv/logs
  holdstill binlog fetch 3 4 5 --instance shop --out /srv/logs`,
		Args: usage(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("say where the logs are to be written: --out DIR")
			}
			return a.runBinlogFetch(cmd.Context(), instance, args, out, whose)
		},
	}
	cmd.Flags().StringVar(&instance, "instance", "", "whose logs (default: the one that is configured)")
	whose.register(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "directory to write them into; made if missing")
	return cmd
}

func (a *app) runBinlogFetch(ctx context.Context, instance string, names []string, out string, whose logFlags) error {
	var args []string
	if instance != "" {
		args = append(args, instance)
	}
	found, err := a.findLogs(ctx, args, whose)
	if err != nil {
		return err
	}
	var chosen []offsite.Link
	for _, name := range names {
		l, err := chooseLog(found.links, name)
		if err != nil {
			return err
		}
		chosen = append(chosen, l)
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("cannot export logs: %w", err)
	}
	type exported struct {
		archive.Log
		File string `json:"file"`
	}
	done := []exported{}
	for _, l := range chosen {
		file, err := a.export(ctx, l, filepath.Clean(out))
		if err != nil {
			return err
		}
		done = append(done, exported{l.Log, file})
		if !a.json {
			fmt.Fprintf(a.stdout, "%s  %s\n", file, humanize.IBytes(uint64(l.Size)))
		}
	}
	if a.json {
		return a.printJSON(done)
	}
	return nil
}

// export writes a log from where it is. One that is damaged here may be sound in the repository.
func (a *app) export(ctx context.Context, l offsite.Link, dir string) (string, error) {
	var local error
	if l.Path != "" {
		file, err := archive.Export(l.Path, l.Log, dir)
		if err == nil || l.Store == nil || !archive.IsDamaged(err) {
			return file, err
		}
		local = err
		a.log.Warn("the log is taken from the repository: " + err.Error())
	}
	var elsewhere pitr.Log
	a.fetching(&elsewhere, *l.Store)
	if err := elsewhere.Fetch(ctx); err != nil {
		return "", errors.Join(local, fmt.Errorf("cannot fetch %s from the repository: %w", l.Name, err))
	}
	return archive.Export(elsewhere.Path, l.Log, dir)
}

// chooseLog finds the log of a name or a place.
func chooseLog(logs []offsite.Link, word string) (offsite.Link, error) {
	seq, err := strconv.Atoi(word)
	found := slices.DeleteFunc(slices.Clone(logs), func(l offsite.Link) bool { return l.Name != word && (err != nil || l.Seq != seq) })
	switch len(found) {
	case 0:
		return offsite.Link{}, withHint{fmt.Errorf("no archived binary log %q: %w", word, catalog.ErrNotFound), "see holdstill binlog list"}
	case 1:
		return found[0], nil
	}
	return offsite.Link{}, withHint{usagef("there are %d archived logs called %s", len(found), word), "name it by its SEQ: see holdstill binlog list"}
}
