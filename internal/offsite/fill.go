package offsite

import (
	"slices"

	"github.com/holdstill/holdstill/internal/archive"
)

// apart takes out the archives that fill gaps of others: by what they fill, what all copies of one have.
func apart(archives [][]Link) (own [][]Link, fills map[string][]Link) {
	fills = map[string][]Link{}
	for _, a := range archives {
		switch {
		case len(a) == 0:
		case a[0].Fills != "":
			fills[a[0].Fills] = merge(fills[a[0].Fills], a)
		default:
			own = append(own, a)
		}
	}
	return own, fills
}

// filled puts into a chain what was read later where something was missing. What is there only in part stays out: the gap is one.
func filled(chain []Link, fills map[string][]Link) []Link {
	var out []Link
	for i, l := range chain {
		if fill := fills[l.Head]; l.Gap != nil && bridges(chain[:i], fill, l) {
			out = append(out, fill...)
			l.Gap = nil
		}
		out = append(out, l)
	}
	numbered(out)
	return out
}

// bridges tells whether logs lead from the end of those before to the next one, each by its own word. Those before may be pruned.
func bridges(before, fill []Link, next Link) bool {
	all := append(slices.Clone(fill), next)
	if n := len(before); n > 0 {
		all = append([]Link{before[n-1]}, all...)
	}
	for i := range all[1:] {
		if all[i].Broken != "" || archive.Follows(all[i].Log, all[i+1].Log) != "" {
			return false
		}
	}
	return len(fill) > 0 && !slices.ContainsFunc(fill, func(l Link) bool { return l.Gap != nil })
}
