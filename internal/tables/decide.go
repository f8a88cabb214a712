package tables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// Plan is what will be done.
type Plan struct {
	Items    []Item
	Product  string // of the live server
	Code     []swap.Code
	Database *schema.Database // to be made, if the live server lacks it
	Warnings []string
}

// Item is one table.
type Item struct {
	*Detail
	swap.Newcomer
	Staged string // its name in the staging and on the scratch server
	Way    Way
	Reason string // why not from its files
	// InPlace is a sequence that the live server lacks: it needs no swap.
	InPlace bool
}

// sequences are those that come along under other names: the defaults of columns use them there.
func (p *Plan) sequences() map[schema.Name]schema.Name {
	out := map[schema.Name]schema.Name{}
	for _, it := range p.Items {
		if it.Table.Kind == schema.Sequence && it.Target != it.Table.FullName() {
			out[it.Table.FullName()] = it.Target
		}
	}
	return out
}

// newcomers are the tables as the live server's judgement wants them.
func (p *Plan) newcomers() (out []*swap.Newcomer) {
	for i := range p.Items {
		out = append(out, &p.Items[i].Newcomer)
	}
	return out
}

// yield lets go of names that are taken.
func (p *Plan) yield(w *World) (warnings []string) {
	all := p.newcomers()
	for _, n := range all {
		warnings = append(warnings, w.Live.Yield(n, all)...)
	}
	return warnings
}

func (p *Plan) bytes() (sum uint64) {
	for _, it := range p.Items {
		sum += it.size()
	}
	return sum
}

// size is what it will take in the live server. A load leaves the room behind that is free within the files.
func (it *Item) size() uint64 {
	told := uint64(max(0, it.Table.Bytes()))
	if it.Way == Files {
		return max(told, it.OnDisk)
	}
	return told
}

func (it *Item) says() string {
	size := humanize.IBytes(it.size())
	switch it.Way {
	case Files:
		return size + ", from its files"
	case Load:
		return size + ", by dump and load: " + it.Reason
	}
	return "made anew"
}

// Refusal is all the reasons at once. Nothing was touched.
type Refusal struct {
	Reasons []string
	Helps   []string
}

func (r *Refusal) Error() string {
	if len(r.Reasons) == 1 {
		return "cannot restore the tables: " + r.Reasons[0]
	}
	return "cannot restore the tables, for these reasons:\n  " + strings.Join(r.Reasons, "\n  ")
}

// Hint says what to do.
func (r *Refusal) Hint() string { return strings.Join(r.Helps, "; ") }

func (r *Refusal) add(help, format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
	for _, h := range r.Helps {
		if h == help {
			return
		}
	}
	if help != "" {
		r.Helps = append(r.Helps, help)
	}
}

// Decide makes the plan, or refuses with all reasons. It is pure.
func Decide(r Request, w *World, canLoad bool) (*Plan, error) {
	p, no := &Plan{Code: w.Code, Product: w.Live.Product}, &Refusal{}
	for _, t := range chosen(r, w) {
		if t.Kind == schema.View {
			if r.Database == "" {
				no.add("restore its database, or make the view from its definition", "%s is a view, which has no rows", t.FullName())
			}
			continue
		}
		p.Items = append(p.Items, item(len(p.Items)+1, r, w, w.Details[t.FullName()]))
	}
	for i := range p.Items {
		judge(&p.Items[i], r, w, canLoad, no)
	}
	// sequences first: the others may need them
	slices.SortStableFunc(p.Items, func(a, b Item) int { return rank(a) - rank(b) })
	p.Warnings = append(p.yield(w), w.Live.Warnings(r.LocalOnly)...)
	if r.As.Database != "" && r.Database != "" {
		var asleep []string
		p.Code, asleep = swap.Asleep(p.Code, r.Database)
		p.Warnings = append(p.Warnings, asleep...)
	}
	judgeTargets(p, r, w, no)
	for _, o := range slices.Concat(w.Live.Objections(p.newcomers(), r.LocalOnly), w.Live.Room(p.bytes()), w.Live.Code(p.Code)) {
		no.add(o.Help, "%s", o.What)
	}
	judgeKeys(p, w, no)
	if len(no.Reasons) > 0 {
		return nil, no
	}
	return p, nil
}

// chosen are the tables, in the server's order.
func chosen(r Request, w *World) (out []schema.Table) {
	all, _ := w.Point.Choose(r.names()) // which was looked at already
	return all
}

func item(n int, r Request, w *World, d *Detail) Item {
	it := Item{Detail: d, Staged: fmt.Sprintf("t%d", n), Newcomer: swap.Newcomer{Target: r.target(d.Table.FullName()), Triggers: d.Triggers, Checks: swap.Checks(d.Create)}}
	for _, k := range d.Keys {
		to := schema.Name{Database: k.To.Database, Table: k.To.Table}
		if w.Details[to] != nil {
			k.To = r.target(to)
		}
		it.Newcomer.Keys = append(it.Newcomer.Keys, k)
	}
	return it
}

func rank(it Item) int {
	if it.Table.Kind == schema.Sequence {
		return 0
	}
	return 1
}

// judge chooses a table's way.
func judge(it *Item, r Request, w *World, canLoad bool, no *Refusal) {
	it.Way, it.Reason = Files, against(w, it.Detail, r)
	switch {
	case it.Table.Kind == schema.Sequence || keepsNoRows[strings.ToLower(it.Table.Engine)]:
		it.Way, it.Reason = Made, ""
		it.InPlace = it.Table.Kind == schema.Sequence && w.Live.Table(it.Target) == nil
		return
	case r.Way == Load:
		it.Way, it.Reason = Load, "it was asked for"
	case it.Reason != "":
		it.Way = Load
	}
	switch {
	case it.Way == Load && r.Way == Files:
		no.add("leave the way to holdstill (--way auto)", "the files of %s cannot be taken over: %s", it.Table.FullName(), it.Reason)
	case it.Way == Load && !canLoad:
		no.add("", "%s would have to be dumped and loaded, which this holdstill cannot: %s", it.Table.FullName(), it.Reason)
	}
}

// judgeKeys refuses to put encrypted tables into a server that would have to keep them in the clear. Between the products encryption is left out, and told.
func judgeKeys(p *Plan, w *World, no *Refusal) {
	if !w.NoKeys || isMariaDB(w.Point) != isMariaDB(w.Live.Server) {
		return
	}
	for _, it := range p.Items {
		if it.Table.Encrypted {
			no.add(noKeysHelp, "%s is encrypted, and %s has no keyring", it.Table.FullName(), w.Live.Instance)
		}
	}
}

// keepsNoRows are engines that forget them, or have them elsewhere.
var keepsNoRows = map[string]bool{"blackhole": true, "memory": true, "mrg_myisam": true, "federated": true, "federatedx": true}

// judgeTargets looks at the places.
func judgeTargets(p *Plan, r Request, w *World, no *Refusal) {
	if r.As.Database != "" && len(r.Tables) > 1 {
		no.add("", "--as gives one new name, and there are %d tables", len(r.Tables))
	}
	for i := range p.Items {
		it := &p.Items[i]
		there := w.Live.Table(it.Target)
		switch {
		case there == nil:
		case r.As.Database != "":
			no.add("choose another name, or drop what has it", "%s exists on %s", it.Target, w.Live.Instance)
		case there.Kind == schema.View || (there.Kind == schema.Sequence) != (it.Table.Kind == schema.Sequence):
			no.add("drop it, or restore beside it with --as", "%s is a %s on %s", it.Target, there.Kind, w.Live.Instance)
		}
		if w.Live.Database(it.Target.Database) == nil && r.Database == "" {
			no.add("make it first", "%s has no database %s", w.Live.Instance, it.Target.Database)
			return
		}
	}
	if r.Database == "" {
		return
	}
	target := r.target(schema.Name{Database: r.Database}).Database
	if w.Live.Database(target) == nil {
		d := *w.Point.Database(r.Database)
		d.Name = target
		p.Database = &d
	} else if r.As.Database != "" {
		no.add("choose another name, or drop it", "the database %s exists on %s", target, w.Live.Instance)
	}
}
