package offsite

import (
	"cmp"
	"slices"

	"github.com/holdstill/holdstill/internal/archive"
)

// Link is a log of a chain, and where its bytes are.
type Link struct {
	archive.State
	Host  string  // whose archive it is
	Path  string  // of the file that holds it here; "": it is not here
	Store *Stored // nil: the repository was not asked, or does not hold it
	// All that is stored of it, by other archives too.
	Copies []Stored

	before []joint
}

// joint is what an archive says of the place between a log and the one before it.
type joint struct {
	log key // the one before; zero: there was none
	gap *archive.Gap
}

// Local makes a sequence of the logs of an archive that is here.
func Local(host string, logs []archive.State, path func(archive.Log) string) []Link {
	var out []Link
	for _, l := range logs {
		out = append(out, Link{State: l, Host: host, Path: path(l.Log)})
	}
	return jointed(out)
}

// Archives are the sequences that a repository holds, one an archive, oldest first.
func Archives(stored []Stored) [][]Link {
	by := map[string][]Link{}
	var order []string
	for _, s := range stored {
		id := s.In.Host + "\x00" + s.In.Instance + "\x00" + s.Archive
		if by[id] == nil {
			order = append(order, id)
		}
		by[id] = append(by[id], Link{State: s.State, Host: s.In.Host, Store: &s, Copies: []Stored{s}})
	}
	var out [][]Link
	for _, id := range order {
		logs := by[id]
		slices.SortFunc(logs, func(a, b Link) int { return cmp.Compare(a.Seq, b.Seq) })
		out = append(out, jointed(logs))
	}
	return out
}

func jointed(logs []Link) []Link {
	for i := range logs {
		before := joint{gap: logs[i].Gap}
		if i > 0 {
			before.log = logs[i-1].key()
		}
		logs[i].before = []joint{before}
	}
	return logs
}

// key is that of its log; one that was found to hold something else is nobody's but its archive's, and one that fills a gap belongs there.
func (l Link) key() key {
	k := keyOf(l.Log)
	if l.Broken != "" {
		k.head += " " + l.Broken
	}
	if l.Fills != "" {
		k.head += " for " + l.Fills
	}
	return k
}

// Chain makes one sequence of those of several archives of the same server or topology: what one lacks another may have. A log that two of them have
// is in it once. The order of each is kept, and where they tell nothing of each other what began earlier comes first. A gap is one only if no
// archive has what is missing.
func Chain(archives ...[]Link) []Link {
	own, fills := apart(archives)
	return filled(chained(own), fills)
}

func chained(archives [][]Link) []Link {
	slices.SortStableFunc(archives, func(a, b []Link) int { return a[0].First.Compare(b[0].First) })
	var out []Link
	for _, a := range archives {
		out = merge(out, a)
	}
	if len(archives) < 2 {
		return out
	}
	for i := range out {
		if i > 0 {
			out[i].Gap = between(out[i-1], out[i])
		} else if g := out[i].before[0].gap; g != nil && out[i].before[0].log == (key{}) {
			out[i].Gap = g
		}
	}
	numbered(out)
	return out
}

// merge brings two sequences into one. Where both have a log they meet.
func merge(a, b []Link) []Link {
	var out []Link
	for len(b) > 0 {
		i, j := meeting(a, b)
		out = append(out, ordered(a[:i], b[:j])...)
		if i == len(a) {
			return out
		}
		out = append(out, both(a[i], b[j]))
		a, b = a[i+1:], b[j+1:]
	}
	return append(out, a...)
}

// meeting is the first log of b that is in a, too; the ends if there is none.
func meeting(a, b []Link) (int, int) {
	places := map[key]int{}
	for i, l := range slices.Backward(a) { // one may be there twice, since it was gone on with later: they meet in order
		places[l.key()] = i
	}
	for j, l := range b {
		if i, there := places[l.key()]; there {
			return i, j
		}
	}
	return len(a), len(b)
}

// ordered puts two runs after one another.
func ordered(a, b []Link) []Link {
	if len(a) > 0 && len(b) > 0 && b[0].First.Before(a[0].First) {
		a, b = b, a
	}
	return slices.Concat(a, b)
}

// both is a log that two archives have: as long as the longer one, and from here if that is as long.
func both(a, b Link) Link {
	best := a
	if b.Size > a.Size || b.Size == a.Size && (b.Closed && !a.Closed || a.Path == "" && b.Path != "") {
		best = b
	}
	for _, l := range []Link{a, b} {
		if best.Store == nil && l.Size == best.Size {
			best.Store = l.Store
		}
	}
	best.before = slices.Concat(a.before, b.before)
	best.Copies = slices.Concat(a.Copies, b.Copies)
	return best
}

// between is the gap before a log that follows on another one now; nil: there is none.
func between(before, next Link) *archive.Gap {
	var gap *archive.Gap
	for _, j := range next.before {
		if j.log == before.key() {
			if j.gap == nil {
				return nil
			}
			gap = j.gap
		}
	}
	if gap != nil {
		return gap
	}
	why := archive.Follows(before.Log, next.Log)
	if why == "" && before.Broken == "" {
		return nil
	}
	for _, j := range next.before { // what an archive knows of it says more
		if j.gap != nil {
			return j.gap
		}
	}
	return &archive.Gap{Reason: cmp.Or(before.Broken, why), From: place(before.Name, before.Size), To: place(next.Name, 4), After: before.Last, Until: next.First}
}

// numbered gives the logs places of their own, where those of several archives are the same.
func numbered(logs []Link) {
	seen := map[int]bool{}
	for _, l := range logs {
		seen[l.Seq] = true
	}
	if len(seen) == len(logs) && slices.IsSortedFunc(logs, func(a, b Link) int { return cmp.Compare(a.Seq, b.Seq) }) {
		return
	}
	for i := range logs {
		logs[i].Seq = i + 1
	}
}

// Before tells which logs, of any archive, are only among the first of a chain.
func Before(links []Link, first int) func(archive.State) bool {
	there := map[key]bool{}
	for i, l := range links {
		there[l.key()] = i < first // one may be there twice
	}
	return func(s archive.State) bool { return there[Link{State: s}.key()] }
}
