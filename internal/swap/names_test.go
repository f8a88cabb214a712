package swap_test

import (
	"reflect"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// TestYieldFoldsCase brings Shop.Orders of a server that keeps the case: one that folds it has shop.orders, which goes aside with its names; they are
// not taken. On one that keeps the case too, Shop.Orders stands beside Shop.orders, and lets go of what that has.
func TestYieldFoldsCase(t *testing.T) {
	for _, c := range []struct {
		database string
		folds    bool
		triggers int
		key      string
	}{{"shop", true, 1, "to parent"}, {"Shop", false, 0, ""}} {
		orders := schema.Name{Database: c.database, Table: "orders"}
		site := &swap.Site{
			Server: &schema.Server{Product: database.MySQL, FoldsCase: c.folds,
				Databases: []schema.Database{{Name: c.database, Triggers: []schema.Trigger{{Name: "tell", Table: "orders"}}}}},
			Constraints: []swap.Constraint{{Of: orders, Name: "to parent"}, {Of: orders, Name: "positive"}}}
		n := &swap.Newcomer{Target: schema.Name{Database: "Shop", Table: "Orders"}, Keys: []swap.Key{{Name: "to parent"}},
			Triggers: []swap.Trigger{{Name: "tell"}}, Checks: []string{"positive"}}
		said := site.Yield(n, []*swap.Newcomer{n})
		if len(n.Triggers) != c.triggers || n.Keys[0].Name != c.key {
			t.Errorf("folds %v: the triggers are %v, and the key is %q: %q", c.folds, n.Triggers, n.Keys[0].Name, said)
		}
		// both tables are in one schema for a while where one has triggers, and a check cannot be named twice
		if !reflect.DeepEqual(n.Unnamed, []string{"positive"}) {
			t.Errorf("folds %v: the checks without a name are %q", c.folds, n.Unnamed)
		}
	}
}

// TestYieldKeepsChecks has no triggers, so the two tables never meet in one schema, but for the old one's: then the name is taken for a while.
// (The server may tell the table of a constraint in another case than that of a trigger: lower_case_table_names=2.)
func TestYieldKeepsChecks(t *testing.T) {
	for _, triggers := range [][]schema.Trigger{nil, {{Name: "tell", Table: "orders"}}} {
		site := &swap.Site{Server: &schema.Server{Product: database.MySQL, FoldsCase: true, Databases: []schema.Database{{Name: "shop", Triggers: triggers}}},
			Constraints: []swap.Constraint{{Of: schema.Name{Database: "shop", Table: "Orders"}, Name: "positive"}}}
		n := &swap.Newcomer{Target: schema.Name{Database: "Shop", Table: "Orders"}, Checks: []string{"positive"}}
		site.Yield(n, []*swap.Newcomer{n})
		if len(n.Unnamed) != len(triggers) {
			t.Errorf("the old table has the triggers %v, and the checks without a name are %q", triggers, n.Unnamed)
		}
	}
}
