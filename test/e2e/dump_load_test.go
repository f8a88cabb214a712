package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/load"
	"github.com/holdstill/holdstill/internal/schema"
)

func (s *shop) load(args ...string) *load.Result {
	s.t.Helper()
	o := s.holdstill(append([]string{"--json", "restore"}, args...)...).want(s.t, 0)
	r := &load.Result{}
	check(s.t, json.Unmarshal([]byte(o.stdout), r))
	return r
}

// noLanding wants nothing left of loads in the server.
func (s *shop) noLanding() {
	s.t.Helper()
	if left := s.value("SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'holdstill\\_load%' OR SCHEMA_NAME LIKE 'holdstill\\_new%'"); left != "" {
		s.t.Errorf("left in the server: %s", left)
	}
}

// wantSums compares live tables with what they were.
func (s *shop) wantSums(then map[schema.Name]schema.Sum, database, now string) {
	s.t.Helper()
	got := s.sums(now)
	for name, want := range then {
		if name.Database == database && got[schema.Name{Database: now, Table: name.Table}].Dumped() != want.Dumped() {
			s.t.Errorf("%s: %+v, not %+v", name, got[schema.Name{Database: now, Table: name.Table}], want)
		}
	}
}

// TestLoad brings every kind of table back from a dump, and kills the load at its boundaries before: the live tables are the old ones until
// the load is whole, and what was loaded is not loaded again.
func TestLoad(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		check(t, s.server.Exec(t.Context(), labtest.ZooStatements(build)...))
		// the name of a check is its schema's, and a table with a trigger waits in the schema of the old one
		check(t, s.server.Exec(t.Context(), "USE zoo", "CREATE TABLE judged (id INT PRIMARY KEY, CONSTRAINT positive CHECK (id > 0))", "INSERT INTO judged VALUES (1)",
			"CREATE TRIGGER judge BEFORE INSERT ON judged FOR EACH ROW SET NEW.id = NEW.id + 100"))
		then := s.sums(labtest.Zoo, labtest.OddZoo)
		p := s.backup()
		out := filepath.Join(s.lab.Dir(), "dump")
		s.dump(p, out)
		check(t, s.server.Exec(t.Context(), "USE zoo", "SET foreign_key_checks = 0", "DROP TABLE types", "DELETE FROM isam", "UPDATE many SET t = 'later'", "TRUNCATE child", "DROP VIEW a_v", "DROP FUNCTION twice"))
		later := s.sums(labtest.Zoo)

		s.loadRefusals(p.ID, out)
		args := []string{"restore", "--from-dump", p.ID, "--database", "zoo"}
		for _, boundary := range []string{"load.half:kill:2", "load.noted:kill:3", "swap.promise:kill"} {
			if o := s.withFault(boundary, args...); o.code != -1 {
				t.Fatalf("%s: the kill did not happen: %d\n%s", boundary, o.code, o.stderr)
			}
			s.holdstill("recover").want(t, 0)
			s.wantSums(later, labtest.Zoo, labtest.Zoo)
		}
		s.loadInTheWay(later, args)
		r := s.load(args[1:]...)
		before := 0
		for _, one := range r.Tables {
			if one.Before {
				before++
			}
		}
		if len(r.Tables) < len(then)-4 {
			t.Errorf("%d tables: %+v", len(r.Tables), r)
		}
		if before != len(r.Tables) {
			t.Errorf("%d of %d tables were loaded by the failed run", before, len(r.Tables))
		}
		s.wantSums(then, labtest.Zoo, labtest.Zoo)
		s.noLanding()
		if v := s.value("SELECT COUNT(*) FROM zoo.a_v"); v == "0" {
			t.Error("the view is empty")
		}
		if v := s.value("SELECT COUNT(*) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'zoo' AND REFERENCED_TABLE_NAME = 'zparent'"); v != "2" {
			t.Errorf("%s foreign keys", v)
		}
		check(t, s.server.Exec(t.Context(), "INSERT INTO zoo.many (a) VALUES (-5)"))
		if v := s.value("SELECT COUNT(*) FROM zoo.many WHERE a = -5"); v != "0" {
			t.Error("the trigger is gone")
		}

		s.load("--from-dump", out, "--into", "shop", "--database", "`"+strings.ReplaceAll(labtest.OddZoo, "`", "``")+"`", "--as", "copy")
		s.wantSums(then, labtest.OddZoo, "copy")
		s.load("--from-dump", out, "--into", "shop", "--table", "zoo.types", "--as", "zoo.types2")
		if got := s.sums(labtest.Zoo)[schema.Name{Database: "zoo", Table: "types2"}]; got.Dumped() != then[schema.Name{Database: "zoo", Table: "types"}].Dumped() {
			t.Errorf("types2: %+v", got)
		}
		s.besideLive(out)
		s.damagedDump(p)
		s.foreign(then)
		s.writtenAnew()
		s.noLanding()
	})
}

// loadInTheWay loads while somebody has a table in use, for longer than the patience: what is live stays as it is, and so does its code.
func (s *shop) loadInTheWay(later map[schema.Name]schema.Sum, args []string) {
	s.t.Helper()
	before := s.belongings(labtest.Zoo)
	db := root(s.t, s.server.Socket)
	defer db.Close()
	tx := must(db.BeginTx(s.t.Context(), nil))(s.t)
	_, err := tx.ExecContext(s.t.Context(), "SELECT COUNT(*) FROM zoo.many")
	check(s.t, err)
	o := s.holdstill(append(args, "--patience", "1s")...).want(s.t, 1)
	check(s.t, tx.Rollback())
	contains(s.t, o.stderr, "cannot put")
	s.wantSums(later, labtest.Zoo, labtest.Zoo)
	if after := s.belongings(labtest.Zoo); after != before {
		s.t.Errorf("the failed load has changed\n%s\nto\n%s", before, after)
	}
}

// belongings are the triggers, foreign keys, routines, views and events of a database, as text.
func (s *shop) belongings(database string) string {
	s.t.Helper()
	var out []string
	for _, query := range []string{
		"SELECT GROUP_CONCAT(CONCAT(TRIGGER_NAME, ' ', EVENT_OBJECT_TABLE) ORDER BY TRIGGER_NAME) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ",
		"SELECT GROUP_CONCAT(CONCAT(TABLE_NAME, ' ', CONSTRAINT_NAME) ORDER BY TABLE_NAME, CONSTRAINT_NAME) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = ",
		"SELECT GROUP_CONCAT(CONCAT(ROUTINE_NAME, ' ', LAST_ALTERED) ORDER BY ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = ",
		"SELECT GROUP_CONCAT(CONCAT(EVENT_NAME, ' ', LAST_ALTERED) ORDER BY EVENT_NAME) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = ",
		"SELECT GROUP_CONCAT(TABLE_NAME ORDER BY TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ",
	} {
		out = append(out, s.value(query+"'"+database+"'"))
	}
	return strings.Join(out, "\n")
}

// besideLive loads tables beside the live ones, which have the names of their trigger, foreign key and check.
func (s *shop) besideLive(out string) {
	s.t.Helper()
	for table, told := range map[string]string{"many": "the trigger trg", "child": "", "judged": "the trigger judge"} {
		r := s.load("--from-dump", out, "--into", "shop", "--table", "zoo."+table, "--as", "zoo."+table+"_then")
		if !strings.Contains(strings.Join(r.Warnings, "\n"), told) {
			s.t.Errorf("%s: %q is not told: %v", table, told, r.Warnings)
		}
	}
	for _, refused := range []string{"INSERT INTO zoo.child_then VALUES (9, 99)", "INSERT INTO zoo.judged_then VALUES (-200)"} {
		if err := s.server.Exec(s.t.Context(), "SET SESSION foreign_key_checks = 1", refused); err == nil {
			s.t.Errorf("the copy lacks what refuses %s", refused)
		}
	}
	s.holdstill("recover").want(s.t, 0)
	check(s.t, s.server.Exec(s.t.Context(), "SET foreign_key_checks = 0", "DROP TABLE zoo.many_then, zoo.child_then, zoo.judged_then"))
}

// damagedDump changes one letter of a dump: the load sees it, and nothing live is touched.
func (s *shop) damagedDump(p *catalog.Point) {
	s.t.Helper()
	dir := filepath.Join(s.lab.Dir(), "damaged")
	m := s.dump(p, dir, "zoo.isam", "--compression", "none")
	file := filepath.Join(dir, m.Files[0].Name)
	text := must(os.ReadFile(file))(s.t)
	flipped := strings.Replace(string(text), "'general'", "'generaX'", 1)
	check(s.t, os.WriteFile(file, []byte(flipped), 0o600))
	before := s.sums(labtest.Zoo)
	refused := func(why string) {
		s.t.Helper()
		o := s.holdstill("restore", "--from-dump", dir, "--into", "shop", "--table", "zoo.isam")
		if o.code != 1 || !strings.Contains(o.stderr, why) || !strings.Contains(o.stderr, file) {
			s.t.Errorf("a damaged dump: %d: %s", o.code, o.stderr)
		}
		s.wantSums(before, labtest.Zoo, labtest.Zoo)
	}
	refused("the file is damaged")
	// a manifest that belongs to the damaged file: what is in the server is compared too
	sum := sha256.Sum256([]byte(flipped))
	manifest := filepath.Join(dir, dumpfile.ManifestName)
	was := must(os.ReadFile(manifest))(s.t)
	check(s.t, os.WriteFile(manifest, []byte(strings.Replace(string(was), m.Files[0].SHA256, hex.EncodeToString(sum[:]), 1)), 0o600))
	refused("is not what was dumped")
	check(s.t, errors.Join(os.WriteFile(manifest, was, 0o600), os.WriteFile(file, text, 0o600)))
	s.load("--from-dump", dir, "--into", "shop", "--table", "zoo.isam") // goes on with what is there: nothing
	check(s.t, os.WriteFile(file, text[:len(text)-9], 0o600))
	if o := s.holdstill("restore", "--from-dump", dir, "--into", "shop", "--table", "zoo.isam"); o.code != 2 || !strings.Contains(o.stderr, "not whole") {
		s.t.Errorf("a dump that is cut off: %d: %s", o.code, o.stderr)
	}
}

// foreign loads what mysqldump wrote by itself: a whole database in one file, packed by somebody.
func (s *shop) foreign(then map[schema.Name]schema.Sum) {
	s.t.Helper()
	dir := filepath.Join(s.lab.Dir(), "foreign")
	check(s.t, os.Mkdir(dir, 0o755))
	file := filepath.Join(dir, "everything.sql.gz")
	text, err := exec.Command("bash", "-c", s.server.Build.Dump+" --defaults-file="+s.server.OptionFile+" --databases zoo copy --routines --events | gzip > "+file).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	check(s.t, s.server.Exec(s.t.Context(), "UPDATE zoo.parts SET t = 'x'"))
	s.load("--from-dump", dir, "--into", "shop", "--table", "zoo.parts", "--table", "zoo.child", "--table", "zoo.zparent")
	got := s.sums(labtest.Zoo)
	for _, table := range []string{"parts", "child", "zparent"} {
		if n := (schema.Name{Database: "zoo", Table: table}); got[n].All != then[n].All {
			s.t.Errorf("%s: %+v, not %+v", n, got[n], then[n])
		}
	}
	s.foreignDatabases(dir)
	evil := filepath.Join(dir, "evil.sql")
	check(s.t, os.WriteFile(evil, []byte("CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB;\nDROP DATABASE zoo;\n"), 0o644))
	if o := s.holdstill("restore", "--from-dump", evil, "--into", "shop", "--table", "zoo.t"); o.code == 0 || !strings.Contains(o.stderr, "line 4") {
		s.t.Errorf("a file that drops a database is loaded: %d: %s", o.code, o.stderr)
	}
	if v := s.value("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'zoo'"); v != "1" {
		s.t.Error("the database is gone")
	}
}

// foreignDatabases loads whole databases of a dump from elsewhere, with their code, where the server does not have them.
func (s *shop) foreignDatabases(dir string) {
	s.t.Helper()
	was := s.value("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'copy'")
	check(s.t, s.server.Exec(s.t.Context(), "DROP DATABASE copy"))
	if r := s.load("--from-dump", dir, "--into", "shop", "--database", "copy"); len(r.Code) != 1 {
		s.t.Errorf("the view of the database is not told: %+v", r)
	}
	if is := s.value("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'copy'") + s.value("SELECT COUNT(*) FROM copy.`v-1`"); is != was+"0" {
		s.t.Errorf("the database and its view are %s, not %s", is, was)
	}
	r := s.load("--from-dump", dir, "--into", "shop", "--database", "zoo", "--as", "zoo_then")
	now := s.sums(labtest.Zoo)
	delete(now, schema.Name{Database: labtest.Zoo, Table: "history"}) // whose past the tool leaves out
	s.wantSums(now, labtest.Zoo, "zoo_then")
	if len(r.Code) != 5 || s.value("SELECT zoo_then.twice(4)") != "8" || s.value("SELECT COUNT(*) FROM zoo_then.a_v") == "0" {
		s.t.Errorf("the code: %v", r.Code)
	}
	check(s.t, s.server.Exec(s.t.Context(), "INSERT INTO zoo_then.judged VALUES (1000)"))
	if v := s.value("SELECT MAX(id) FROM zoo_then.judged"); v != "1100" {
		s.t.Errorf("the trigger made %s of 1000", v)
	}
	if s.server.Build.Product != lab.MariaDB {
		return
	}
	create := s.value("SELECT COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'zoo_then' AND TABLE_NAME = 'seqdef' AND COLUMN_NAME = 'id'")
	if !strings.Contains(create, "`zoo_then`") {
		s.t.Errorf("the copy takes its numbers by %s", create)
	}
}

// perconas is what Percona's dump tool writes at the beginning.
const perconas = `/*!50717 SELECT COUNT(*) INTO @rocksdb_has_p_s_session_variables FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME = 'session_variables' */;
/*!50717 SET @rocksdb_get_is_supported = IF (@rocksdb_has_p_s_session_variables, 'SELECT COUNT(*) INTO @rocksdb_is_supported FROM performance_schema.session_variables WHERE VARIABLE_NAME=\'rocksdb_bulk_load\'', 'SELECT 0') */;
/*!50717 PREPARE s FROM @rocksdb_get_is_supported */;
/*!50717 EXECUTE s */;
/*!50717 DEALLOCATE PREPARE s */;
`

// writtenAnew overwrites a file after a load of it was killed: what was loaded is not taken for what is there now.
func (s *shop) writtenAnew() {
	s.t.Helper()
	file := filepath.Join(s.lab.Dir(), "anew.sql")
	args := []string{"--from-dump", file, "--into", "shop", "--table", "zoo.anew"}
	for _, row := range []string{"1", "22"} {
		text := perconas + "CREATE TABLE `anew` (\n  `id` int\n) ENGINE=InnoDB;\nINSERT INTO `anew` VALUES (" + row + ");\n-- Dump completed\n"
		check(s.t, os.WriteFile(file, []byte(text), 0o600))
		if row == "1" {
			if o := s.withFault("swap.promise:kill", append([]string{"restore"}, args...)...); o.code != -1 {
				s.t.Fatalf("the kill did not happen: %d\n%s", o.code, o.stderr)
			}
			s.holdstill("recover").want(s.t, 0)
		}
	}
	r := s.load(args...)
	if got := s.value("SELECT GROUP_CONCAT(id) FROM zoo.anew"); got != "22" {
		s.t.Errorf("the rows are %s: %+v", got, r)
	}
	landing := s.value("SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'holdstill\\_load%'")
	if !strings.Contains(strings.Join(r.Warnings, "\n"), landing) || landing == "" {
		s.t.Errorf("the landing %s of the old file is not told: %v", landing, r.Warnings)
	}
	check(s.t, s.server.Exec(s.t.Context(), "DROP DATABASE "+landing, "DROP TABLE zoo.anew"))
}

// following makes the server a replica, by its own account, for the time of do.
func (s *shop) following(do func()) {
	s.t.Helper()
	begin, end := "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody'", "RESET SLAVE ALL"
	if s.server.Build.Product == lab.MySQL {
		begin, end = "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, SOURCE_USER = 'nobody'", "RESET REPLICA ALL"
	}
	check(s.t, s.server.Exec(s.t.Context(), begin))
	do()
	check(s.t, s.server.Exec(s.t.Context(), end))
}

func (s *shop) loadRefusals(point, out string) {
	s.t.Helper()
	s.following(func() {
		o := s.holdstill("restore", "--from-dump", out, "--into", "shop", "--table", "zoo.many").want(s.t, 2)
		contains(s.t, o.stderr, "shop is a replica", "--local-only")
	})
	for _, bad := range []struct {
		code int
		say  string
		args []string
	}{
		{4, "no table zoo.unicorn", []string{"--from-dump", out, "--into", "shop", "--table", "zoo.unicorn"}},
		{2, "--into", []string{"--from-dump", out, "--table", "zoo.many"}},
		{2, "say which tables", []string{"--from-dump", point}},
		{2, "which stays", []string{"--from-dump", point, "--table", "zoo.zparent"}},
		{2, "of the server's own", []string{"--from-dump", point, "--table", "zoo.many", "--as", "mysql.many"}},
		{4, "nowhere: no restore point", []string{"--from-dump", "latest", "--table", "zoo.many", "--into", "nowhere"}},
		{2, "already", []string{"--from-dump", point, "--table", "zoo.many", "--as", "zoo.parts"}},
		{2, "already", []string{"--from-dump", point, "--database", "zoo", "--as", "zoo"}},
		{2, "no database", []string{"--from-dump", point, "--table", "zoo.many", "--as", "nowhere.many"}},
		{4, "nosuch", []string{"--from-dump", "nosuch", "--table", "zoo.many"}},
	} {
		o := s.holdstill(append([]string{"restore"}, bad.args...)...)
		if o.code != bad.code || !strings.Contains(o.stderr, bad.say) {
			s.t.Errorf("%v: %d: %s", bad.args, o.code, o.stderr)
		}
	}
	s.noLanding()
}
