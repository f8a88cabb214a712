package load

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/swap"
)

// readHeads reads the statements that make the tables, which stand before the rows: what would break is told before hours of loading.
func (p *plan) readHeads() error {
	for _, t := range p.tables {
		if t.create == "" {
			if err := t.readHead(); err != nil {
				return fmt.Errorf("cannot read %s: %w", t.path, err)
			}
		}
		d, ok := parse(t.create)
		if !ok {
			continue // a sequence; or the load tells why
		}
		t.Checks = swap.Checks(t.create)
		d.takeKeys(t.from.Database)
		t.Keys = d.keys
		if p.translate == nil {
			t.defaults = d.takeDefaults(t.from.Database)
		} else if _, err := p.translate.table(d); err != nil {
			return &Refusal{fmt.Sprintf("%s: %v", t.from, err), "name the tables to load without it"}
		}
	}
	for _, t := range p.tables {
		for i := range t.Keys {
			t.Keys[i].To = p.renamed(t.Keys[i].To)
		}
	}
	return nil
}

func (t *table) readHead() (err error) {
	in, _, err := t.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	statements := dumpfile.NewStatements(in)
	for {
		s, err := statements.Next()
		if errors.Is(err, io.EOF) {
			return nil // the load tells it
		}
		if err != nil {
			return err
		}
		what, name, err := meaning(s)
		if err != nil {
			return err
		}
		if what == create && name == t.from.Table {
			t.create = string(s.Text)
			return nil
		}
	}
}

// judge asks what the live server has against the tables, and lets go of names that are taken.
func (p *plan) judge(site *swap.Site, localOnly bool) error {
	var all []*swap.Newcomer
	for _, t := range p.tables {
		all = append(all, &t.Newcomer)
	}
	for _, n := range all { // first: a key without a name gets one of the server's, which needs room
		p.warnings = append(p.warnings, site.Yield(n, all)...)
	}
	no := slices.Concat(site.Objections(all, localOnly), site.Code(p.code))
	for _, t := range p.tables {
		for _, d := range t.defaults {
			if n := p.renamed(d.Sequence); site.Table(n) == nil && !slices.ContainsFunc(all, func(o *swap.Newcomer) bool { return site.Same(o.Target, n) }) {
				no = append(no, swap.Objection{What: fmt.Sprintf("the default of the column %s of %s needs the sequence %s, which %s does not have", d.Column, t.Target, n, site.Instance), Help: "load that too"})
			}
		}
	}
	if len(no) > 0 {
		what, help := swap.Told(no)
		return &Refusal{what, help}
	}
	p.warnings = append(p.warnings, site.Warnings(localOnly)...)
	return nil
}
