package swap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/schema"
)

// Site is the live server as a plan has to know it before anything is touched, wherever the new tables come from.
type Site struct {
	*schema.Server
	Instance    string
	Replica     bool                // it follows a source
	Vars        map[string]string   // its global variables, in lower case
	Constraints []Constraint        // whose names are their schemas'
	References  []schema.ForeignKey // all foreign keys
	Datadir     string              // where this process sees it; else ""
	Free        uint64              // bytes, there
}

// Survey looks at the live server, and changes nothing.
func Survey(ctx context.Context, live Live) (*Site, error) {
	s := &Site{Instance: live.Instance, Replica: live.Replica, Datadir: live.Datadir}
	var err error
	if s.Server, err = schema.Read(ctx, live.DB); err != nil {
		return nil, err
	}
	if s.Vars, err = schema.Variables(ctx, live.DB); err != nil {
		return nil, err
	}
	if s.Constraints, err = constraints(ctx, live.DB); err != nil {
		return nil, err
	}
	if s.References, err = schema.ForeignKeys(ctx, live.DB); err != nil {
		return nil, err
	}
	if s.Datadir == "" {
		return s, nil
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.Datadir, &fs); err != nil {
		return nil, fmt.Errorf("cannot look at the data directory: %w", err)
	}
	s.Free = fs.Bavail * uint64(fs.Bsize)
	return s, nil
}

// On tells whether a global variable is on.
func (s *Site) On(name string) bool { return schema.On(s.Vars, name) }

// A server names a foreign key that has no name after its table; no name is longer than maxName characters.
const (
	givenKey = "_ibfk_99"
	maxName  = 64
)

// Objection is why tables cannot go into the server, and what helps.
type Objection struct{ What, Help string }

// Objections are all that speak against putting the newcomers into the server, by the server itself and by its foreign keys. Whether the rows
// have their parents is looked at when they are there, before the swap. It is pure.
func (s *Site) Objections(all []*Newcomer, localOnly bool) (no []Objection) {
	if s.Replica && !localOnly {
		no = append(no, Objection{s.Instance + " is a replica, which would no longer be like its source", "restore on its source; --local-only changes this server alone"})
	}
	if s.On("super_read_only") {
		no = append(no, Objection{s.Instance + " takes no writes (super_read_only)", "SET GLOBAL super_read_only = OFF"})
	}
	targets := targetsOf(all)
	for _, k := range stranded(s.References, targets, s.Same) {
		if s.Table(k.To) != nil {
			no = append(no, Objection{fmt.Sprintf("the foreign key %s of %s, which stays, refers to %s, whose rows it would lose", k.Name, k.From, k.To),
				"restore these tables together, or beside the live ones with --as"})
		}
	}
	for _, n := range all {
		if slices.ContainsFunc(n.Keys, func(k Key) bool { return k.Name == "" }) && utf8.RuneCountInString(n.Target.Table)+len(givenKey) > maxName {
			no = append(no, Objection{fmt.Sprintf("the name %s leaves no room for those that the server gives to its foreign keys", n.Target),
				fmt.Sprintf("choose one of at most %d characters", maxName-len(givenKey))})
		}
		if schema.Own(n.Target.Database) {
			no = append(no, Objection{n.Target.String() + " is of the server's own", ""})
		}
		for _, k := range n.Keys {
			if s.Table(k.To) == nil && !slices.ContainsFunc(targets, func(t schema.Name) bool { return s.Same(t, k.To) }) {
				no = append(no, Objection{fmt.Sprintf("the foreign key %s of %s refers to %s, which %s does not have", k.Name, n.Target, k.To, s.Instance), "restore that table too"})
			}
		}
	}
	return no
}

// Room objects to tables that have more bytes than there are free.
func (s *Site) Room(bytes uint64) (no []Objection) {
	if s.Datadir != "" && bytes+bytes/20 > s.Free {
		no = append(no, Objection{fmt.Sprintf("the tables have %s, and there are %s free in %s", humanize.IBytes(bytes), humanize.IBytes(s.Free), s.Datadir), "make room there"})
	}
	return no
}

// Code objects to views in whose places tables are.
func (s *Site) Code(code []Code) (no []Objection) {
	for _, c := range code {
		if there := s.Table(schema.Name{Database: c.Database, Table: c.Name}); c.View && there != nil && there.Kind != schema.View {
			no = append(no, Objection{fmt.Sprintf("%s is to be a view, and is a %s on %s", there.FullName(), there.Kind, s.Instance), "drop or rename it, or restore beside it with --as"})
		}
	}
	return no
}

// Warnings are what has to be known of a restore that goes on.
func (s *Site) Warnings(localOnly bool) []string {
	if !localOnly || !s.On("log_bin") {
		return nil
	}
	return []string{"the restored tables are not in the binary log of " + s.Instance + ": its replicas have the old ones, and no older point can go over this moment; take a backup now"}
}

// Told are all objections as one text, and all help without repetition.
func Told(no []Objection) (what, help string) {
	var reasons, helps []string
	for _, o := range no {
		reasons = append(reasons, o.What)
		if o.Help != "" && !slices.Contains(helps, o.Help) {
			helps = append(helps, o.Help)
		}
	}
	if len(reasons) > 1 {
		return "for these reasons:\n  " + strings.Join(reasons, "\n  "), strings.Join(helps, "; ")
	}
	return strings.Join(reasons, ""), strings.Join(helps, "; ")
}
