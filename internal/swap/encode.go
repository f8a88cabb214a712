package swap

import (
	"fmt"
	"strings"
)

// Directory is the directory that a server keeps a schema in, and the beginning of the names of a table's files: the products keep ASCII
// letters, digits and the underscore, and write any other character as @ and four hexadecimal digits of its code. (There are shorter forms for
// some letters beyond ASCII, @0G for ä for example, so names with those are looked up rather than made; see strings/ctype or "Mapping
// of Identifiers to File Names".)
func Directory(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "@%04x", r)
		}
	}
	return b.String()
}
