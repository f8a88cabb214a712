package swap_test

import (
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

// An event of a copy does not run beside the original's; its comment and its body stay as they are.
func TestEventsOfACopyAreAsleep(t *testing.T) {
	event := func(state string) string {
		return "CREATE DEFINER=`root`@`%` EVENT `e` ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ON COMPLETION NOT PRESERVE " + state +
			" COMMENT 'ON COMPLETION PRESERVE ENABLE' DO DELETE FROM shop.log"
	}
	for _, state := range []string{"ENABLE", "DISABLE", "DISABLE ON SLAVE", "DISABLE ON REPLICA"} {
		code := []swap.Code{{Kind: "EVENT", Title: "event copy.e", Create: event(state)}, {Kind: "FUNCTION", Title: "function copy.f", Create: "CREATE FUNCTION f() RETURNS INT RETURN 1"}}
		asleep, warnings := swap.Asleep(code, "shop")
		if asleep[0].Create != event("DISABLE") || asleep[1].Create != code[1].Create || code[0].Create != event(state) {
			t.Errorf("%s: %s", state, asleep[0].Create)
		}
		if len(warnings) != 2 || !strings.Contains(warnings[1], "event copy.e names shop") {
			t.Errorf("%s: %q", state, warnings)
		}
	}
}

// The server would refuse the name of a key only after the swap.
func TestNamesWithoutRoomForTheirKeys(t *testing.T) {
	site := &swap.Site{Server: &schema.Server{Databases: []schema.Database{{Name: "shop", Tables: []schema.Table{{Database: "shop", Name: "parent"}}}}}, Instance: "shop"}
	for length, fits := range map[int]bool{56: true, 57: false, 64: false} {
		n := &swap.Newcomer{Target: schema.Name{Database: "shop", Table: strings.Repeat("ä", length)}, Keys: []swap.Key{{To: schema.Name{Database: "shop", Table: "parent"}}}}
		if no := site.Objections([]*swap.Newcomer{n}, false); (len(no) == 0) != fits {
			t.Errorf("a name of %d letters: %+v", length, no)
		}
	}
}
