package cli

import (
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/plan"
)

func TestWishesAreComparedNotBelieved(t *testing.T) {
	for _, c := range []struct {
		wishes  hook.Wishes
		role    database.Role
		warned  string
		refused bool
	}{
		{hook.Wishes{Role: "replica"}, database.Replica, "", false},
		{hook.Wishes{Role: "source"}, database.Standalone, "", false},
		{hook.Wishes{Role: "replica"}, database.Source, "but it is a source", false},
		{hook.Wishes{Role: "source"}, database.Replica, "but it is a replica", false},
		{hook.Wishes{Product: "mysql"}, database.Source, "but it is mariadb", false},
		{hook.Wishes{OnlyReplica: true}, database.Replica, "", false},
		{hook.Wishes{OnlyReplica: true}, database.Source, "", true},
	} {
		p := &plan.Plan{Consistency: catalog.Application}
		weigh(c.wishes, &database.Facts{Product: database.MariaDB, Role: c.role}, p)
		if got := strings.Join(p.Warnings, "; "); (c.warned == "") != (got == "") || !strings.Contains(got, c.warned) {
			t.Errorf("%+v: warned %q, want %q", c, got, c.warned)
		}
		if refused := len(p.Problems) > 0; refused != c.refused || p.OK() == c.refused {
			t.Errorf("%+v: refused %v", c, refused)
		}
	}
}
