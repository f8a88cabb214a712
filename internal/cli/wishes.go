package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/plan"
)

// wishes compares what a host's own configuration says of the server with what the server says.
func wishes(p hook.Personality) (func(*database.Facts, *plan.Plan), error) {
	wishful, ok := p.(hook.Wishful)
	if !ok {
		return nil, nil
	}
	w, ok, err := wishful.Wishes(os.ReadFile)
	if err != nil || !ok {
		return nil, err
	}
	return func(f *database.Facts, p *plan.Plan) { weigh(w, f, p) }, nil
}

func weigh(w hook.Wishes, f *database.Facts, p *plan.Plan) {
	warn := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	replica := f.Role == database.Replica
	if w.Role != "" && (w.Role == "replica") != replica {
		warn("%s says that the server is a %s, but it is a %s: it is held as what it is", w.Path, w.Role, f.Role)
	}
	if w.Product != "" && w.Product != f.Product {
		warn("%s says that the server is %s, but it is %s", w.Path, w.Product, f.Product)
	}
	if len(w.Ignored) > 0 {
		warn("of %s these are not used, as Holdstill has a configuration of its own: %s", w.Path, strings.Join(w.Ignored, ", "))
	}
	if w.OnlyReplica && !replica {
		p.Problems = append(p.Problems, plan.Problem{
			What:   fmt.Sprintf("%s wants snapshots of a replica only (enforceSlaveOnly), and the server is a %s", w.Path, f.Role),
			Remedy: "call on the replica, or set enforceSlaveOnly to False",
		})
		p.Consistency = ""
	}
}
