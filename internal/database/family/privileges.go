package family

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// grants is what an account may do, by object as the server spells it without quotes ("*.*", "performance_schema.*").
type grants map[string][]string

var grantLine = regexp.MustCompile(`(?is)^GRANT (.+?) ON (?:TABLE )?(\S+) TO `)

// parseGrants reads the lines of SHOW GRANTS. Columns in brackets are no grant of the whole and are left out.
func parseGrants(lines []string) grants {
	out := grants{}
	for _, line := range lines {
		m := grantLine.FindStringSubmatch(line)
		if m == nil {
			continue // a role, or a proxy
		}
		object := strings.NewReplacer("`", "", `\`, "", `"`, "").Replace(m[2])
		for p := range strings.SplitSeq(columns.ReplaceAllString(m[1], "(columns)"), ",") {
			out[object] = append(out[object], strings.ToUpper(strings.TrimSpace(p)))
		}
	}
	return out
}

var columns = regexp.MustCompile(`\([^)]*\)`)

// has reports whether a privilege on an object is given, by itself or by a wider one.
func (g grants) has(privilege, object string) bool {
	for _, o := range []string{"*.*", object, schemaOf(object)} {
		if slices.Contains(g[o], "ALL PRIVILEGES") || slices.Contains(g[o], "ALL") || slices.Contains(g[o], privilege) {
			return true
		}
	}
	return false
}

func schemaOf(object string) string {
	schema, _, _ := strings.Cut(object, ".")
	return schema + ".*"
}

func (g grants) meets(n Need) bool {
	return slices.ContainsFunc(n.AnyOf, func(all []string) bool {
		return !slices.ContainsFunc(all, func(p string) bool { return !g.has(p, n.On) })
	})
}

// privileges compares what the account may with what the modes need.
func (r *reader) privileges() error {
	have, account, err := r.grants()
	if err != nil {
		return err
	}
	f := r.out
	needs := r.dialect.Needs(r.Version)
	f.Missing = missing(have, needs, account, func(n Need) bool { return n.Mode == database.Hot })
	for _, mode := range []database.Mode{database.Locked, database.Cold} {
		more := missing(have, needs, account, func(n Need) bool { return n.Mode == mode && (!n.Replica || !r.alone) })
		if len(more) > 0 {
			if f.MissingFor == nil {
				f.MissingFor = map[database.Mode][]string{}
			}
			f.MissingFor[mode] = more
		}
	}
	return nil
}

// missing builds one GRANT an object.
func missing(have grants, needs []Need, account string, wanted func(Need) bool) []string {
	out, objects := []string{}, []string(nil)
	lacks := map[string][]string{}
	for _, n := range needs {
		if !wanted(n) || have.meets(n) {
			continue
		}
		if lacks[n.On] == nil {
			objects = append(objects, n.On)
		}
		for _, p := range n.AnyOf[0] {
			if !slices.Contains(lacks[n.On], p) {
				lacks[n.On] = append(lacks[n.On], p)
			}
		}
	}
	for _, o := range objects {
		out = append(out, fmt.Sprintf("GRANT %s ON %s TO %s;", strings.Join(lacks[o], ", "), o, account))
	}
	return out
}

// grants asks for the account's own privileges and those of its active roles.
func (r *reader) grants() (grants, string, error) {
	who, err := query(r.ctx, r.q, "SELECT CURRENT_USER() AS account")
	if err != nil {
		return nil, "", err
	}
	rows, err := query(r.ctx, r.q, "SHOW GRANTS FOR CURRENT_USER()")
	if err != nil {
		return nil, "", err
	}
	rows = append(rows, r.roleGrants()...)
	var lines []string
	for _, row := range rows {
		for _, line := range row {
			lines = append(lines, line)
		}
	}
	user, host := cutLast(merge(who)["account"], "@")
	return parseGrants(lines), Quote(user) + "@" + Quote(host), nil
}

// roleGrants differ by product in how they are asked; no role, or none known to an old server, is no error.
func (r *reader) roleGrants() []Row {
	rows, err := query(r.ctx, r.q, "SELECT CURRENT_ROLE() AS roles")
	roles := merge(rows)["roles"]
	if err != nil || roles == "" || strings.EqualFold(roles, "NONE") {
		return nil
	}
	ask := "SHOW GRANTS FOR CURRENT_USER() USING " + roles
	if r.product == database.MariaDB {
		ask = "SHOW GRANTS FOR CURRENT_ROLE()"
	}
	rows, _ = query(r.ctx, r.q, ask)
	return rows
}

func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return s, "%"
}
