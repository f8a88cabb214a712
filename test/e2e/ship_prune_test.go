package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
)

// TestPruneReasons: what prune says that it would do is what it does, with the reason for each point, and stock kopia still reads the rest.
func TestPruneReasons(t *testing.T) {
	s := oneServer(t)
	s.furnish(1 << 20)
	s.stockedAt(filepath.Join(s.lab.Dir(), "store"))
	old, pinned, last := s.backup(), s.backup(), s.backup()
	s.holdstill("points", "pin", pinned.ID).want(t, 0)
	s.retain("  last: 1\n")
	dry := s.verdicts("prune", "--dry-run", "--json")
	for id, want := range map[string][]string{old.ID: {"remove"}, pinned.ID: {"keep", "pinned"}, last.ID: {"keep"}} {
		for _, word := range want {
			if !strings.Contains(dry[id], word) {
				t.Errorf("%s: %q is not in %q", id, word, dry[id])
			}
		}
	}
	if n := len(s.listed()); n != 3 {
		t.Errorf("a dry run left %d points of 3", n)
	}
	done := s.verdicts("prune", "--json")
	for id, verdict := range dry {
		if done[id] != verdict {
			t.Errorf("%s: the dry run said %q, and done is %q", id, verdict, done[id])
		}
	}
	s.holdstill("repository", "maintain").want(t, 0)
	if left := s.listed(); len(left) != 2 || left[0].ID != pinned.ID || left[1].ID != last.ID {
		t.Errorf("left: %+v", left)
	}
	s.holdstill("repository", "check", "--read", "100").want(t, 0)
	s.stockProgram(last)
	s.same(s.look())
}

// verdicts are the actions and reasons that prune tells, by point.
func (s *shop) verdicts(args ...string) map[string]string {
	s.t.Helper()
	var told struct {
		Verdicts []struct {
			Point, Action string
			Reasons       []string
		}
	}
	check(s.t, json.Unmarshal([]byte(s.holdstill(args...).want(s.t, 0).stdout), &told))
	out := map[string]string{}
	for _, v := range told.Verdicts {
		out[v.Point] = v.Action + ": " + strings.Join(v.Reasons, "; ")
		if len(v.Reasons) == 0 {
			s.t.Errorf("%s: %s, and no reason", v.Point, v.Action)
		}
	}
	return out
}

func (s *shop) listed() []catalog.Point {
	s.t.Helper()
	var got []catalog.Point
	check(s.t, json.Unmarshal([]byte(s.holdstill("points", "list", "--json").want(s.t, 0).stdout), &got))
	return got
}

// TestShipLocked: a store that keeps what was written against everybody, us too, is no hindrance.
func TestShipLocked(t *testing.T) {
	s := oneServer(t)
	s.inS3("locked", "  object_lock: {mode: governance, period: 24h}\n")
	contains(t, s.holdstill("repository", "status").want(t, 0).stdout, "governance")
	first, second := s.backup(), s.backup()
	if first.Repository == nil || second.Repository == nil || second.Repository.ReadBytes >= first.Repository.ReadBytes {
		t.Errorf("shipped: %+v, %+v", first.Repository, second.Repository)
	}
	s.retain("  last: 1\n")
	s.holdstill("prune").want(t, 0)
	s.holdstill("repository", "maintain").want(t, 0)
	s.holdstill("repository", "check", "--read", "100").want(t, 0)
	if left := s.listed(); len(left) != 1 || left[0].ID != second.ID {
		t.Errorf("left: %+v", left)
	}
	stop(t, s.restored(second, "from-locked", "--from", "repository"))
}
