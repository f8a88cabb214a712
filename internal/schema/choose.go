package schema

import (
	"fmt"
	"slices"
	"strings"
)

// AbsentError tells names that a server does not hold.
type AbsentError struct {
	Names []Name
	Where []string // for each, what there is instead
}

func (e *AbsentError) Error() string {
	var out []string
	for i, n := range e.Names {
		what := "database"
		if n.Table != "" {
			what = "table"
		}
		out = append(out, fmt.Sprintf("there is no %s %s%s", what, n, e.Where[i]))
	}
	return strings.Join(out, "; ")
}

// Choose gives the tables, views and sequences that the names mean, each once and in the order of the server; no names mean all. Names
// that mean nothing are told all at once, as an *AbsentError.
func (s *Server) Choose(names []Name) ([]Table, error) {
	absent := &AbsentError{}
	for _, n := range names {
		if s.Database(n.Database) == nil || n.Table != "" && s.Table(n) == nil {
			absent.Names = append(absent.Names, n)
			absent.Where = append(absent.Where, s.instead(n))
		}
	}
	if len(absent.Names) > 0 {
		return nil, absent
	}
	var out []Table
	for _, d := range s.Databases {
		for _, t := range d.Tables {
			if len(names) == 0 || slices.ContainsFunc(names, func(n Name) bool { return s.means(n, t) }) {
				out = append(out, t)
			}
		}
	}
	return out, nil
}

func (s *Server) means(n Name, t Table) bool {
	return s.same(n.Database, t.Database) && (n.Table == "" || s.same(n.Table, t.Name))
}

// instead names what differs in its case only, or what there is at all if that is little.
func (s *Server) instead(n Name) string {
	if Own(n.Database) {
		return " to choose: it is the server's own"
	}
	var near, all []string
	d := s.Database(n.Database)
	if d == nil {
		for _, other := range s.Databases {
			all = append(all, Name{Database: other.Name}.String())
			if strings.EqualFold(other.Name, n.Database) {
				near = append(near, Name{Database: other.Name}.String())
			}
		}
		return oneOf(near, all)
	}
	for _, t := range d.Tables {
		all = append(all, t.FullName().String())
		if strings.EqualFold(t.Name, n.Table) {
			near = append(near, t.FullName().String())
		}
	}
	return oneOf(near, all)
}

func oneOf(near, all []string) string {
	const few = 12
	switch {
	case len(near) > 0:
		return " (but " + strings.Join(near, ", ") + ")"
	case len(all) == 0:
		return ": there is none at all"
	case len(all) <= few:
		return " (there are " + strings.Join(all, ", ") + ")"
	}
	return fmt.Sprintf(" (there are %d others)", len(all))
}
