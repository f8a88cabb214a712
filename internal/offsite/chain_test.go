package offsite

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/repository"
)

var began = time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)

// logs makes the logs of an archive, from words: NAME, or NAME@SERVER, with ! behind it if there is a gap before, ~ if it is open, and ' for another log of
// the name, as after a reset. The nth log of a server has the transactions 10n to 10n+9.
func logs(words string) []archive.State {
	var out []archive.State
	for i, word := range strings.Fields(words) {
		l := archive.State{Log: archive.Log{Seq: i + 1, Closed: !strings.Contains(word, "~"), Size: 1000}}
		if strings.Contains(word, "!") {
			l.Gap = &archive.Gap{Reason: "a gap"}
		}
		if !l.Closed {
			l.Size = 500
		}
		word = strings.Trim(word, "!~")
		l.Head = "begins as " + word
		word, reset := strings.CutSuffix(word, "'")
		name, server, _ := strings.Cut(word, "@")
		n := 0
		_, _ = fmt.Sscan(name, &n)
		uuid := "11111111-1111-1111-1111-111111111111"
		if server != "" {
			uuid = "22222222-2222-2222-2222-222222222222"
		}
		l.Name = fmt.Sprintf("binlog.%06d", n)
		l.Server = archive.Server{Product: "mysql", UUID: uuid}
		l.First, l.Last = began.Add(time.Duration(n)*time.Hour), began.Add(time.Duration(n+1)*time.Hour)
		if l.GTIDAfter = fmt.Sprintf("%s:1-%d", uuid, 10*n+9); n > 1 {
			l.GTIDBefore = fmt.Sprintf("%s:1-%d", uuid, 10*n-1)
		}
		if reset {
			l.First = l.First.Add(100 * time.Hour)
			if l.GTIDAfter = fmt.Sprintf("%s:1-%d", uuid, 10*n+3); n > 1 {
				l.GTIDBefore = fmt.Sprintf("%s:1-%d", uuid, 10*n-7)
			}
		}
		if server != "" { // a replica that became the source: it has all of the other's
			l.GTIDBefore = fmt.Sprintf("11111111-1111-1111-1111-111111111111:1-%d", 10*n-1)
			l.GTIDAfter = fmt.Sprintf("11111111-1111-1111-1111-111111111111:1-%d,%s:1-9", 10*n-1, uuid)
		}
		out = append(out, l)
	}
	return out
}

func stored(host, id, words string) (out []Stored) {
	for _, l := range logs(words) {
		out = append(out, Stored{Record: Record{State: l, Archive: id}, In: repository.Stored{Description: repository.Description{Host: host, Instance: "shop"}}})
	}
	return out
}

// told writes a chain as words, with where each is.
func told(links []Link) string {
	var out []string
	for _, l := range links {
		_, name, _ := strings.Cut(l.Head, "begins as ")
		if l.Gap != nil {
			name += "!"
		}
		if l.Path != "" {
			name += "+"
		}
		if l.Store == nil {
			name += "-"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// TestChain: what one archive lacks another has, what two have is there once, and no gap is hidden or invented.
func TestChain(t *testing.T) {
	for _, c := range []struct{ name, local, old, older, want string }{
		{"only here", "1 2 3~", "", "", "1+- 2+- 3+-"},
		{"only away", "", "1 2 3~", "", "1 2 3"},
		{"the same in both", "1 2 3~", "1 2 3~", "", "1+ 2+ 3+"},
		{"lost, and begun anew where it ended", "3 4~", "1 2 3~", "", "1 2 3+- 4+-"},
		{"lost, and begun anew behind it", "4 5~", "1 2 3", "", "1 2 3 4+- 5+-"},
		{"lost, and something is missing", "5 6~", "1 2 3", "", "1 2 3 5!+- 6+-"},
		{"lost while a log was open", "4 5~", "1 2 3~", "", "1 2 3 4+- 5+-"},
		{"a gap here that was not one then", "1 4! 5~", "1 2 3 4", "", "1+ 2 3 4+ 5+-"},
		{"a gap in both", "1 4! 5~", "1 4! 5", "", "1+ 4!+ 5"},
		{"reset, and the same names again", "1' 2'~", "1 2 3", "", "1 2 3 1'!+- 2'+-"},
		{"reset, and the first is gone", "2'~", "1", "", "1 2'!+-"},
		{"lost twice", "5 6~", "3 4 5~", "1 2 3", "1 2 3 4 5+- 6+-"},
		{"a failover", "4@b 5@b~", "1 2 3", "", "1 2 3 4@b+- 5@b+-"},
		{"a failover that lacks something", "5@b~", "1 2 3", "", "1 2 3 5@b!+-"},
		{"a log that was read twice", "1~ 2@b 1 3~", "1~ 2@b 1 3~", "", "1+ 2@b+ 1+ 3+"},
		{"behind what is here", "1 2", "2 3 4", "", "1+- 2+ 3 4"},
	} {
		var all [][]Link
		all = append(all, Archives(append(stored("a", "OLD", c.old), stored("a", "OLDER", c.older)...))...)
		all = append(all, Local("a", logs(c.local), func(l archive.Log) string { return "/here/" + l.Name }))
		got := Chain(all...)
		if told(got) != c.want {
			t.Errorf("%s: %s, not %s", c.name, told(got), c.want)
		}
		for i, l := range got {
			if i > 0 && l.Seq <= got[i-1].Seq {
				t.Errorf("%s: the places are not in order: %d, %d", c.name, got[i-1].Seq, l.Seq)
			}
		}
	}
}

// TestChainFilled: what was read later is put where it was missing, once it is whole, from wherever it is.
func TestChainFilled(t *testing.T) {
	fill := func(l archive.State) archive.State { l.Fills = "begins as 4!"; return l }
	helper := func(from, to int) (out []archive.State) { // of another server, with what 2 and 3 have
		for n := from; n <= to; n++ {
			l := logs("1@b")[0]
			l.Seq, l.Name, l.Head, l.First, l.Last = n, fmt.Sprintf("binlog.%06d", n+50), fmt.Sprintf("begins as %d", n+50), began, began.Add(time.Hour)
			l.GTIDBefore = fmt.Sprintf("11111111-1111-1111-1111-111111111111:1-%d", 10*n-1)
			l.GTIDAfter = fmt.Sprintf("11111111-1111-1111-1111-111111111111:1-%d", 10*n+9)
			out = append(out, fill(l))
		}
		return out
	}
	broken := helper(2, 3)
	broken[1].Gap = &archive.Gap{Reason: "a gap"}
	main := logs("1 4! 5~")
	main[1].Head = "begins as 4!"
	taken := helper(3, 3)[0] // after a failover
	taken.Fills, taken.Gap, taken.Seq = "", &archive.Gap{Reason: "a gap"}, 4
	path := func(archive.Log) string { return "/here" }
	for _, c := range []struct {
		name string
		main []archive.State
		here []archive.State
		away []archive.State
		want string
	}{
		{"whole", main, helper(2, 3), nil, "1+- 52+- 53+- 4!+- 5+-"},
		{"begun earlier", main, helper(1, 3), nil, "1+- 51+- 52+- 53+- 4!+- 5+-"},
		{"here and in the repository", main, helper(2, 3), helper(2, 3), "1+- 52+ 53+ 4!+- 5+-"},
		{"half of it here", main, helper(2, 2), helper(2, 3), "1+- 52+ 53 4!+- 5+-"},
		{"not whole", main, helper(2, 2), nil, "1+- 4!!+- 5+-"},
		{"with a gap", main, broken, nil, "1+- 4!!+- 5+-"},
		{"too late", main, helper(3, 3), nil, "1+- 4!!+- 5+-"},
		{"gone on with later", append(slices.Clone(main), taken), helper(2, 3), nil, "1+- 52+- 53+- 4!+- 5+- 53!+-"},
		{"what is before is pruned", main[1:], helper(3, 3), nil, "53+- 4!+- 5+-"},
		{"what it filled is pruned", main[2:], helper(2, 3), nil, "5+-"},
	} {
		var away []Stored
		for _, l := range c.away {
			away = append(away, Stored{Record: Record{State: l, Archive: "FILL"}, In: repository.Stored{Description: repository.Description{Host: "a", Instance: "shop"}}})
		}
		got := Chain(append(Archives(away), Local("a", c.main, path), Local("a", c.here, path))...)
		if told(got) != c.want {
			t.Errorf("%s: %s, not %s", c.name, told(got), c.want)
		}
		for i, l := range got {
			if i > 0 && l.Seq <= got[i-1].Seq {
				t.Errorf("%s: the places are not in order: %d, %d", c.name, got[i-1].Seq, l.Seq)
			}
		}
	}
}

// A log that fills a gap is pruned though its server was followed later, and the log archived once more.
func TestBeforeOfWhatFills(t *testing.T) {
	filling := logs("50@b")[0]
	followed := filling
	filling.Fills = "begins as 4!"
	main := append(logs("1 4!"), followed)
	main[1].Head = "begins as 4!"
	chain := slices.Concat(Local("a", main[:1], func(archive.Log) string { return "" }), Local("a", []archive.State{filling, main[1], followed}, func(archive.Log) string { return "" }))
	before := Before(chain, 3)
	if !before(filling) || before(followed) {
		t.Errorf("before: %t, %t", before(filling), before(followed))
	}
}

// A log that was found to hold something else is never taken for the one that was archived anew in its place.
func TestChainKeepsBrokenLogsApart(t *testing.T) {
	all := stored("a", "OLD", "1 2")
	all[1].Broken = "the server lost events"
	got := Chain(append(Archives(all), Local("a", logs("2 3~"), func(archive.Log) string { return "/here" }))...)
	if told(got) != "1 2 2!+- 3+-" {
		t.Errorf("%s", told(got))
	}
}

func TestBefore(t *testing.T) {
	chain := Chain(Archives(stored("a", "OLD", "1 2 1 3"))...)
	before := Before(chain, 2)
	for i, want := range []bool{false, true, false, false} { // the first is needed later, too
		if before(logs("1 2 1 3")[i]) != want {
			t.Errorf("log %d", i)
		}
	}
}

// TestIDs: no two archives ever mean the same log.
func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, host := range []string{"a", "b", "ab"} {
		for _, instance := range []string{"shop", "b", "bshop"} {
			for _, id := range []string{"X", "Y"} {
				seen[ID(host, instance, id, 1)] = true
				seen[ID(host, instance, id, 2)] = true
			}
		}
	}
	if len(seen) != 36 {
		t.Errorf("%d ids", len(seen))
	}
}

// TestDecide: little is appended, much is committed, nothing is nothing, and what is stored of another log stays as it is.
func TestDecide(t *testing.T) {
	open, closed := logs("1~")[0], logs("1")[0]
	other := logs("1'")[0]
	at := func(l archive.State, size int64, tails ...repository.Tail) *Stored {
		l.Size = size
		return &Stored{Record: Record{State: l}, In: repository.Stored{Tails: tails}}
	}
	many := make([]repository.Tail, tailsMost)
	open.Size = 100 << 20
	for _, c := range []struct {
		name    string
		log     archive.State
		is      *Stored
		trusted bool
		want    step
	}{
		{"new", open, nil, false, committed},
		{"the same", open, at(open, open.Size), true, nothing},
		{"a little more", open, at(open, open.Size-10), true, appended},
		{"a little more, of what nobody vouches for", open, at(open, open.Size-10), false, committed},
		{"much more", open, at(open, open.Size-appendMost-1), true, committed},
		{"many tails", open, at(open, open.Size-10, many...), true, committed},
		{"long tails", open, at(open, open.Size-10, repository.Tail{From: open.Size - tailBytes - 10, To: open.Size - 10}), true, committed},
		{"closed", closed, at(logs("1~")[0], closed.Size), true, committed},
		{"closed, and stored so", closed, at(closed, closed.Size), true, nothing},
		{"more is stored", open, at(open, open.Size+1), false, nothing},
		{"more is stored of a closed one", closed, at(closed, closed.Size+1), false, foreign},
		{"stored as closed", open, at(closed, 500), true, foreign},
		{"another one", closed, at(other, 500), true, foreign},
	} {
		if got := decide(c.log, c.is, c.trusted); got != c.want {
			t.Errorf("%s: %d, not %d", c.name, got, c.want)
		}
	}
}
