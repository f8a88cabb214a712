package archive

import (
	"fmt"
	"slices"

	"github.com/dustin/go-humanize/english"
)

// claim is what a reader has to do with a log.
type claim int

// The claims. That of a reader of which nothing is known is the first.
const (
	needs     claim = iota // it has not executed it, or nobody knows
	executed               // it has
	unrelated              // it does not follow this server
	ignored                // somebody said that it does not count
)

// claims tells what a reader has to do with a log, and, if it needs it, why the log stays.
func (r Reader) claims(l Log) (claim, string) {
	switch {
	case r.Ignored:
		return ignored, ""
	case r.Blocks != "":
		return needs, r.Blocks
	case r.apart:
		return unrelated, ""
	case r.file != "" && number(r.file) <= number(l.Name):
		return needs, fmt.Sprintf("the replica %s is at %s", r.Name, r.file)
	case r.file != "":
		return executed, ""
	case len(r.gtids) == 0:
		return needs, fmt.Sprintf("what the replica %s has executed is not known", r.Name)
	case l.GTIDAfter == "":
		return needs, fmt.Sprintf("whether the replica %s has executed it is not known, as it has no GTIDs", r.Name)
	}
	after, err := parseGTIDs(l.GTIDAfter)
	if err != nil {
		return needs, err.Error()
	}
	if !slices.ContainsFunc(r.gtids, func(g *gtids) bool { return g.besides(r.ID, after).lacks(after) == "" }) {
		return needs, fmt.Sprintf("the replica %s has not executed it, it lacks %s", r.Name, r.gtids[0].lacks(after))
	}
	return executed, ""
}

// besides leaves out the domains of MariaDB's in which the server itself wrote last, and another one what is wanted: the numbers of both tell nothing
// of each other.
func (g *gtids) besides(own uint32, wanted *gtids) *gtids {
	if len(g.domains) == 0 {
		return g
	}
	out := &gtids{}
	for domain, one := range g.domains {
		if one.ServerID != own || wanted.domains[domain].ServerID == own {
			out.move(one)
		}
	}
	return out
}

// told says of a log that goes what the readers have to do with it.
func told(readers []Reader, l Log) string {
	counts := map[claim]int{}
	for _, r := range readers {
		c, _ := r.claims(l)
		counts[c]++
	}
	words := ""
	if n := counts[executed]; n > 0 {
		words += fmt.Sprintf(", executed by %s", english.Plural(n, "replica", ""))
	}
	if n := counts[unrelated]; n > 0 {
		words += fmt.Sprintf(", %s without replication from here", english.Plural(n, "server", ""))
	}
	if n := counts[ignored]; n > 0 {
		words += fmt.Sprintf(", %s ignored", english.Plural(n, "replica", ""))
	}
	return words
}
