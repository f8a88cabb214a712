package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/hostname"
	"github.com/holdstill/holdstill/internal/offsite"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/secret"
	"github.com/holdstill/holdstill/internal/wire"
)

// logShelf is where a command finds binary logs that are not on this machine: the repository, which is opened and asked once, and a cache.
type logShelf struct {
	stock  *stock
	cache  *offsite.Cache
	listed []offsite.Stored
	asked  bool
	err    error
}

func (a *app) logsElsewhere() *logShelf {
	if a.shelf == nil {
		a.shelf = &logShelf{stock: &stock{app: a}, cache: offsite.NewCache(a.dirs.BinlogCache())}
	}
	return a.shelf
}

// forsakeShelf leaves it to one that hangs with it. Whoever needs the repository later opens it again.
func (a *app) forsakeShelf() {
	a.opened.forget(a.shelf.stock)
	a.shelf = nil
}

// leaveShelf is for the end of the program.
func (a *app) leaveShelf() {
	if a.shelf == nil {
		return
	}
	a.shelf.stock.close()
	if err := a.shelf.cache.Close(); err != nil {
		a.log.Warn("the cache of binary logs could not be tidied up: " + err.Error())
	}
}

// stored are the logs of a host's instance that the repository holds; "": of all. None if there is no repository.
func (s *logShelf) stored(ctx context.Context, host, instance string) ([]offsite.Stored, error) {
	if !s.asked {
		s.asked = true
		var store repository.Store
		if store, s.err = s.stock.open(ctx); s.err == nil {
			s.listed, s.err = offsite.List(ctx, store, "", "")
		}
	}
	if errors.Is(s.err, wire.ErrNoRepository) {
		return nil, nil
	}
	if s.err != nil && s.listed == nil {
		return nil, s.err
	}
	if s.err != nil {
		s.stock.app.log.Warn(s.err.Error())
		s.err = nil
	}
	return slices.DeleteFunc(slices.Clone(s.listed), func(l offsite.Stored) bool {
		return host != "" && l.In.Host != host || instance != "" && l.In.Instance != instance
	}), nil
}

// askPatience is how long the repository is asked for more where the archive of this machine has logs.
const askPatience = 15 * time.Second

// more is stored where this machine has logs itself: a repository that is away, or would ask a person for its password, is done without.
func (a *app) more(ctx context.Context, host, instance string) []offsite.Stored {
	c, err := a.written()
	if err != nil {
		return nil
	}
	r, err := wire.RepositoryOf(c, a.dirs)
	if err != nil || (secret.Source{File: r.PasswordFile, Command: r.PasswordCommand, Credential: r.PasswordCredential}).Asks() {
		return nil
	}
	type answer struct {
		logs []offsite.Stored
		err  error
	}
	got := make(chan answer, 1)
	shelf := a.logsElsewhere()
	go func() {
		logs, err := shelf.stored(ctx, host, instance)
		got <- answer{logs, err}
	}()
	var told answer
	select {
	case told = <-got:
	case <-time.After(askPatience):
		a.forsakeShelf()
		told.err = fmt.Errorf("it does not answer within %s", askPatience)
	}
	if told.err != nil {
		a.log.Warn("the repository cannot be asked for binary logs, so only those of this machine are looked at: " + told.err.Error())
	}
	return told.logs
}

// localLinks are the logs of this machine's archive of an instance, and of those that fill its gaps.
func (a *app) localLinks(i *config.Instance) ([][]offsite.Link, error) {
	kept, fills, err := a.archives(i)
	if err != nil {
		return nil, err
	}
	var out [][]offsite.Link
	for _, one := range append([]*archive.Archive{kept}, fills...) {
		w := one.Watch()
		defer w.Close()
		logs, err := w.After(0)
		if err != nil {
			return nil, err
		}
		if len(logs) > 0 {
			out = append(out, offsite.Local(hostname.Name(), logs, one.Path))
		}
	}
	return out, nil
}

// found are the logs that a command is about.
type foundLogs struct {
	instance string
	host     string
	links    []offsite.Link
}

// logFlags say whose logs.
type logFlags struct{ host string }

func (f *logFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.host, "host", "", "the logs that this machine shipped to the repository (default: this one's)")
}

// findLogs are the logs of an instance: those of this machine's archive, and those that the repository has of it, as one sequence. On a machine
// that has none of the instance they are those of the one machine that shipped some.
func (a *app) findLogs(ctx context.Context, args []string, f logFlags) (*foundLogs, error) {
	i, err := a.instance(ctx, args)
	if err != nil {
		i, err = a.instanceElsewhere(ctx, args, f, err)
	}
	if err != nil {
		return nil, err
	}
	out := &foundLogs{instance: i.Name, host: f.host}
	if out.host == "" {
		out.host = hostname.Name()
	}
	var local [][]offsite.Link
	if out.host == hostname.Name() {
		if local, err = a.localLinks(i); err != nil {
			return nil, err
		}
	}
	var stored []offsite.Stored
	if len(local) > 0 {
		stored = a.more(ctx, out.host, i.Name)
	} else if stored, err = a.storedAnywhere(ctx, out, f.host == ""); err != nil {
		return nil, err
	}
	out.links = offsite.Chain(append(offsite.Archives(stored), local...)...)
	return out, nil
}

// storedAnywhere asks the repository for the logs of a machine, or, if it may be another, of the only one that has some.
func (a *app) storedAnywhere(ctx context.Context, f *foundLogs, another bool) ([]offsite.Stored, error) {
	all, err := a.logsElsewhere().stored(ctx, "", f.instance)
	if err != nil {
		return nil, err
	}
	of := func(host string) []offsite.Stored {
		return slices.DeleteFunc(slices.Clone(all), func(l offsite.Stored) bool { return l.In.Host != host })
	}
	if mine := of(f.host); len(mine) > 0 || !another || len(all) == 0 {
		return mine, nil
	}
	var hosts []string
	for _, l := range all {
		if !slices.Contains(hosts, l.In.Host) {
			hosts = append(hosts, l.In.Host)
		}
	}
	if len(hosts) > 1 {
		slices.Sort(hosts)
		return nil, withHint{usagef("several machines shipped binary logs of %s: %s", f.instance, strings.Join(hosts, ", ")), "name one with --host"}
	}
	f.host = hosts[0]
	a.log.Info("these are the binary logs of "+f.host+", from the repository", "instance", f.instance)
	return of(f.host), nil
}

// instanceElsewhere is one that this machine does not know, and the repository has logs of.
func (a *app) instanceElsewhere(ctx context.Context, args []string, f logFlags, unknown error) (*config.Instance, error) {
	stored, err := a.logsElsewhere().stored(ctx, f.host, "")
	if err != nil {
		return nil, errors.Join(unknown, err)
	}
	var names []string
	for _, l := range stored {
		if name := l.In.Instance; !slices.Contains(names, name) && config.IsInstanceName(name) && (len(args) == 0 || args[0] == name) {
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		return nil, unknown
	}
	return config.Default(names[0]), nil
}

// ways makes logs that a way leads through of a sequence.
func (a *app) ways(links []offsite.Link, instance, host string) pitr.Logs {
	out := pitr.Logs{From: "the archive of " + instance}
	for _, l := range links {
		one := pitr.Log{Server: pitr.Identity(l.Server.UUID, l.Server.ID), Name: l.Name, Path: l.Path, Size: l.Size, Begun: l.First, Last: l.Last, Executed: l.GTIDBefore}
		if l.Gap != nil {
			one.Gap = l.Gap.Reason
		}
		if l.Path == "" {
			out.From = "the archive of " + instance + " in the repository"
			a.fetching(&one, *l.Store)
		}
		if l.Closed {
			one.Index = one.Path + archive.IndexSuffix
		}
		out.All = append(out.All, one)
	}
	if n := len(links); n > 0 && links[n-1].Store != nil { // of what is behind a log its record says nothing
		out.Until = links[n-1].Store.Until
	}
	if host != hostname.Name() {
		out.From += ", of " + host
	}
	return out
}

// fetching makes a log one that comes from the repository when its bytes are wanted.
func (a *app) fetching(l *pitr.Log, s offsite.Stored) {
	shelf := a.logsElsewhere()
	l.Path = shelf.cache.Path(&s)
	l.Fetch = func(ctx context.Context) error {
		store, err := shelf.stock.open(ctx)
		if err != nil {
			return err
		}
		if !shelf.cache.Has(&s) {
			a.log.Info(fmt.Sprintf("fetching %s, %s, from the repository", s.Name, humanize.IBytes(uint64(s.Size))), "stage", "fetch")
		}
		return shelf.cache.Fetch(ctx, store, &s)
	}
}

// noLogs tells that there are none.
func noLogs(instance string) error {
	return withHint{fmt.Errorf("there are no binary logs in the archive of %s: %w", instance, catalog.ErrNotFound),
		"name the server's own with --binlogs DIR; holdstill binlog archive keeps them from now on"}
}
