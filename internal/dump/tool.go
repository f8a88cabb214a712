package dump

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/schema"
)

// tool is a dump tool, and what it says of itself.
type tool struct {
	Path    string
	Says    string
	Product string
	Version [2]int
	Warning string
}

// findTool looks for the dump tool that belongs to the server: beside its program, in the bin directory beside the program's, in PATH. The first
// one that can dump the server is taken; if none can, the error says what each lacks.
func findTool(ctx context.Context, src Source, held *schema.Server, p *plan) (*tool, error) {
	var why []string
	generated, err := hasGenerated(ctx, src, p)
	if err != nil {
		return nil, err
	}
	paths := candidates(src.Program, held.Product)
	if src.Tool != "" {
		paths = []string{src.Tool}
	}
	for _, path := range paths {
		t, err := look(ctx, path)
		if err != nil {
			why = append(why, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		problem, warning := judge(t, held, generated)
		if problem == "" {
			t.Warning = warning
			return t, nil
		}
		why = append(why, path+" "+problem)
	}
	what := "no dump tool is on this machine"
	if len(why) > 0 {
		what = "no dump tool on this machine can: " + strings.Join(why, "; ")
	}
	return nil, &Refusal{fmt.Sprintf("the server is %s %s, and %s", held.Product, held.Version, what),
		"install the client package of the server's version (mariadb-client or mysql-client), or put its dump tool beside " + src.Program}
}

func candidates(program, product string) []string {
	names := []string{"mysqldump", "mariadb-dump"}
	if product == database.MariaDB {
		names = []string{"mariadb-dump", "mysqldump"}
	}
	var dirs []string
	if program != "" {
		dir := filepath.Dir(program)
		dirs = []string{dir, filepath.Join(filepath.Dir(dir), "bin")}
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	var out []string
	seen := map[string]bool{}
	for _, dir := range dirs {
		for _, name := range names {
			path := filepath.Join(dir, name)
			info, err := os.Stat(path)
			if err != nil || info.IsDir() || info.Mode().Perm()&0o111 == 0 || seen[path] || !filepath.IsAbs(path) {
				continue
			}
			seen[path] = true
			out = append(out, path)
		}
	}
	return out
}

// The tools say "mysqldump  Ver 9.7.4 for Linux", "mysqldump  Ver 10.13 Distrib 5.7.44, for Linux", "mariadb-dump  Ver 10.19 Distrib
// 10.11.19-MariaDB" and "mariadb-dump from 11.8.6-MariaDB, client 10.19".
var toolVersion = regexp.MustCompile(`(?:Distrib|from|Ver) (\d+)\.(\d+)\.\d+`)

func look(ctx context.Context, path string) (*tool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--no-defaults", "--version")
	cmd.Env = restore.Environment()
	out, err := cmd.CombinedOutput()
	says := strings.TrimSpace(string(out))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, says)
	}
	return readVersion(path, says)
}

func readVersion(path, says string) (*tool, error) {
	found := toolVersion.FindStringSubmatch(says)
	if found == nil {
		return nil, fmt.Errorf("it does not tell its version but: %s", says)
	}
	t := &tool{Path: path, Says: says, Product: database.MySQL}
	t.Version[0], _ = strconv.Atoi(found[1])
	t.Version[1], _ = strconv.Atoi(found[2])
	if strings.Contains(says, "MariaDB") {
		t.Product = database.MariaDB
	}
	return t, nil
}

// judge tells whether a tool can dump a server without losing anything. An older tool does not know what a newer server has; the products'
// tools ask for things that the other one does not have. MySQL 5.7 is close enough to where MariaDB began.
func judge(t *tool, held *schema.Server, generated bool) (problem, warning string) {
	server := versionOf(held.Version)
	old := held.Product == database.MySQL && server[0] < 8
	switch {
	case t.Product == database.MySQL && held.Product == database.MariaDB:
		return "is MySQL's, which cannot dump MariaDB", ""
	case t.Product == database.MariaDB && held.Product == database.MySQL && !old:
		return "is MariaDB's, which cannot dump MySQL 8.0 and later without loss", ""
	case t.Product == held.Product && (t.Version[0] < server[0] || t.Version[0] == server[0] && t.Version[1] < server[1]):
		return fmt.Sprintf("is of version %d.%d, older than the server", t.Version[0], t.Version[1]), ""
	case t.Product != held.Product && generated:
		return "is MariaDB's, which writes the values of generated columns; MySQL does not take these back", ""
	case t.Product != held.Product:
		return "", fmt.Sprintf("the dump tool %s is MariaDB's; it reads tables of MySQL %s well, but put mysqldump beside the server to have its own", t.Path, held.Version)
	}
	return "", ""
}

// hasGenerated tells whether any table of the plan has generated columns.
func hasGenerated(ctx context.Context, src Source, p *plan) (bool, error) {
	rows, err := schema.Ask(ctx, src.DB, "SELECT DISTINCT TABLE_SCHEMA AS db, TABLE_NAME AS tab FROM information_schema.COLUMNS "+
		"WHERE EXTRA LIKE '%VIRTUAL GENERATED%' OR EXTRA LIKE '%STORED GENERATED%'")
	for _, r := range rows {
		n := schema.Name{Database: r["db"], Table: r["tab"]}
		if slices.ContainsFunc(p.tasks, func(t task) bool { return t.part == dumpfile.Rows && t.table.FullName() == n }) {
			return true, nil
		}
	}
	return false, err
}

func versionOf(text string) (v [2]int) {
	parts := strings.SplitN(text, ".", 3)
	for i := range min(2, len(parts)) {
		v[i], _ = strconv.Atoi(parts[i])
	}
	return v
}

// history tells whether the tool writes the past of system-versioned tables, and the server takes it back.
func (t *tool) history(held *schema.Server) bool {
	new := func(v [2]int) bool { return v[0] > 10 || v[0] == 10 && v[1] >= 11 }
	return t.Product == database.MariaDB && held.Product == database.MariaDB && new(t.Version) && new(versionOf(held.Version))
}
