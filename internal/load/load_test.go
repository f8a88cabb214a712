package load

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
	"github.com/holdstill/holdstill/internal/swap"
)

func TestWhatStatementsMean(t *testing.T) {
	for text, want := range map[string]deed{
		"/*!40101 SET NAMES utf8mb4 */":                   setting,
		"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a:1-5'": skipped,
		"SET @@SESSION.SQL_LOG_BIN= 0":                    skipped,
		"set persist max_connections = 1":                 skipped,
		"DROP TABLE IF EXISTS `t`":                        skipped,
		"LOCK TABLES `t` WRITE":                           skipped,
		"/*!40000 ALTER TABLE `t` DISABLE KEYS */":        harmless,
		"DO SETVAL(`s`, 150, 0)":                          harmless,
		"COMMIT":                                          harmless,
		"/*!50717 SELECT COUNT(*) INTO @rocksdb_has_p_s_session_variables FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME = 'session_variables' */": skipped,
		"/*!50717 PREPARE s FROM @rocksdb_get_is_supported */": skipped,
		"/*!50717 EXECUTE s */":                                skipped,
		"/*!50717 DEALLOCATE PREPARE s */":                     skipped,
		"PREPARE s FROM 'DROP DATABASE shop'":                  other,
		"SELECT COUNT(*) INTO @rocksdb FROM (SELECT f()) AS x": other,
		"SELECT COUNT(*) INTO OUTFILE '/tmp/x' FROM t":         other,
		"CREATE TABLE `t``x` (\n  `a` int\n) ENGINE=InnoDB":    create,
		"CREATE SEQUENCE `s` start with 1":                     create,
		"INSERT INTO `t` VALUES (1)":                           insert,
		"INSERT INTO `t` (`a`) VALUES ('/*!50000 x */')":       insert,
		"USE `shop`": switching,
		"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop`":                               switching,
		"/*!50001 CREATE VIEW `v` AS SELECT 1 AS `a`*/":                                 code,
		"CREATE DEFINER=`a b`@`%` PROCEDURE `p`()\nBEGIN END":                           code,
		"CREATE TRIGGER `shop`.`x` BEFORE INSERT ON `shop`.`t` FOR EACH ROW SET @a = 1": code,
		"CREATE PROCEDURE `other`.`p`() SELECT 1":                                       other,
		"DROP DATABASE shop":                          other,
		"DROP TABLE shop.t":                           other,
		"DELETE FROM t":                               other,
		"INSERT INTO shop.t VALUES (1)":               other,
		"INSERT INTO `shop`.`t` VALUES (1)":           other,
		"CREATE TABLE `shop`.`t` (\n  `a` int\n)":     other,
		"CREATE USER x":                               other,
		"GRANT ALL ON *.* TO x":                       other,
		"LOAD DATA INFILE '/etc/passwd' INTO TABLE t": other,
		"ALTER TABLE `t` DISABLE KEYS, DROP COLUMN a": other,
		"SELECT SETVAL(`s`, (SELECT 1))":              other,
		"UPDATE t SET a = 1":                          other,
		"/*!50000 DROP DATABASE shop */":              other,
		"SET a = 1":                                   setting,
		"CREATE TABLE t AS SELECT * FROM mysql.user":  other,
		"DROP TABLE IF EXISTS `t` /* of another */":   skipped,
		"/*!50003 CREATE*/ /*!50017 DEFINER=`r`@`h`*/ /*!50003 TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1 */": code,
	} {
		got, _, err := meaning(dumpfile.Statement{Text: []byte(text)})
		if got != want || (err != nil) != (want == other) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

const shown = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `p` int(11) DEFAULT 1,\n  `s` varchar(9) DEFAULT 'a,\\n) KEY (`x`)',\n" +
	"  `g` int(11) GENERATED ALWAYS AS (`p` * 2) VIRTUAL,\n  PRIMARY KEY (`p`),\n  KEY `auto` (`id`),\n  KEY `k` (`s`),\n  UNIQUE KEY `ug` (`g`),\n" +
	"  CONSTRAINT `f``k` FOREIGN KEY (`p`, `id`) REFERENCES `other`.`parent` (`a`, `b`) ON DELETE SET NULL,\n" +
	"  CONSTRAINT `self` FOREIGN KEY (`p`) REFERENCES `t` (`id`) ON DELETE CASCADE ON UPDATE NO ACTION,\n  CONSTRAINT `c` CHECK (`p` > 0)\n" +
	") ENGINE=Aria DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_ai_ci PAGE_CHECKSUM=1 COMMENT='ENGINE=Aria'\n PARTITION BY HASH (`p`)"

func TestCreateTableTakenApart(t *testing.T) {
	d, ok := parse(shown)
	if !ok || d.String() != shown {
		t.Fatalf("%v: %s", ok, d)
	}
	d.takeKeys("shop")
	if len(d.keys) != 2 || d.keys[0].Name != "f`k" || !slices.Equal(d.keys[0].Columns, []string{"p", "id"}) || d.keys[0].To != (schema.Name{Database: "other", Table: "parent"}) ||
		d.keys[0].OnDelete != "SET NULL" || d.keys[0].OnUpdate != "RESTRICT" || d.keys[1].To.Database != "shop" || d.keys[1].OnUpdate != "NO ACTION" {
		t.Errorf("%+v", d.keys)
	}
	d.deferIndexes()
	if !slices.Equal(d.later, []string{"ADD KEY `k` (`s`)"}) || strings.Contains(d.String(), "FOREIGN") || !strings.Contains(d.String(), "KEY `auto`") || !strings.Contains(d.String(), "CHECK") {
		t.Errorf("%v: %s", d.later, d)
	}
	x := &translation{"mariadb", "mysql", intoMySQL}
	changes, err := x.table(d)
	text := d.String()
	if err != nil || len(changes) != 2 || !strings.Contains(text, "COMMENT='ENGINE=Aria'") || !strings.Contains(text, ") ENGINE=InnoDB") || strings.Contains(text, "PAGE_CHECKSUM") || !strings.Contains(text, "utf8mb4_0900_ai_ci") {
		t.Errorf("%v, %v: %s", changes, err, text)
	}
	want := []string{"DROP COLUMN `g`", "ADD COLUMN `g` int(11) GENERATED ALWAYS AS (`p` * 2) VIRTUAL AFTER `s`", "ADD KEY `k` (`s`)", "ADD UNIQUE KEY `ug` (`g`)"}
	if !slices.Equal(d.later, want) || !strings.Contains(text, "`g` int(11) NULL") {
		t.Errorf("%q: %s", d.later, text)
	}
}

func TestLandingsOfOthersAreTold(t *testing.T) {
	own := landingOf("this", "shop")
	held := &schema.Server{Databases: []schema.Database{{Name: own}, {Name: landingOf("another", "shop")}, {Name: "holdstill"}}}
	if got := abandoned(held, own); len(got) != 1 || !strings.Contains(got[0], landingOf("another", "shop")) {
		t.Errorf("%q", got)
	}
}

func TestTranslationRefuses(t *testing.T) {
	for _, line := range []string{"`v` vector(3) NOT NULL", "`id` int(11) DEFAULT nextval(`zoo`.`seq`)"} {
		if _, err := (&translation{"mariadb", "mysql", intoMySQL}).table(&definition{lines: []string{line}, tail: ")"}); err == nil {
			t.Errorf("%s goes into MySQL", line)
		}
	}
	for _, line := range []string{"KEY `e` (((`id` * 2)))", "`v` vector(3)"} {
		if _, err := (&translation{"mysql", "mariadb", intoMariaDB}).table(&definition{lines: []string{line}, tail: ")"}); err == nil {
			t.Errorf("%s goes into MariaDB", line)
		}
	}
}

const numbered = "CREATE TABLE `t` (\n  `id` int(11) DEFAULT nextval(`shop`.`seq`),\n  `n` int(11) NOT NULL DEFAULT nextval(`seq`) COMMENT 'DEFAULT nextval(`x`)',\n  PRIMARY KEY (`n`),\n" +
	"  CONSTRAINT `positive` CHECK (`n` > 0),\n  CONSTRAINT `kept` CHECK (`n` > 1)\n) ENGINE=InnoDB"

// TestNamesThatAreLetGo makes tables whose check has a taken name, and whose numbers come from sequences that are called otherwise, or are not there yet.
func TestNamesThatAreLetGo(t *testing.T) {
	from := schema.Name{Database: "shop", Table: "t"}
	seq := schema.Name{Database: "shop", Table: "seq"}
	out := &Loaded{}
	streamed := &text{from: from, unnamed: []string{"positive"}, sequences: map[schema.Name]schema.Name{seq: {Database: "copy", Table: "seq"}}}
	sql, _, err := streamed.created(numbered, out)
	if err != nil || !strings.Contains(sql, "DEFAULT nextval(`copy`.`seq`)") || strings.Contains(sql, "`positive`") || !strings.Contains(sql, "\n  CHECK (`n` > 0)") || !slices.Equal(out.Checks, []string{"kept"}) {
		t.Errorf("%v, %+v: %s", err, out, sql)
	}
	out = &Loaded{}
	sql, _, err = (&text{from: from, waiting: true}).created(numbered, out)
	if err != nil || strings.Count(sql, "nextval") != 1 || !slices.Equal(out.Defaults, []Default{{"id", seq}, {"n", seq}}) || !strings.Contains(sql, "`n` int(11) NOT NULL COMMENT") {
		t.Errorf("%v, %+v: %s", err, out, sql)
	}
	if got, want := out.Defaults[0].with(schema.Name{Database: "copy", Table: "seq"}), "ALTER COLUMN `id` SET DEFAULT (nextval(`copy`.`seq`))"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	// what was loaded under a name that is free no more is loaded again
	was := &record{Loaded: Loaded{Checks: []string{"kept"}}}
	if was.fits(&table{Newcomer: swap.Newcomer{Unnamed: []string{"kept"}}}) || !was.fits(&table{Newcomer: swap.Newcomer{Unnamed: []string{"positive"}}}) {
		t.Error("a table with a taken name fits")
	}
}

func TestWhereADumpComesFrom(t *testing.T) {
	for text, want := range map[string]string{
		"-- MariaDB dump 10.19\n--\n-- Server version\t10.11.6-MariaDB-0+deb12u1\n": "mariadb",
		"-- MySQL dump 10.13\n-- Server version\t8.0.36\n":                          "mysql",
		"CREATE TABLE `t` (\n": "",
	} {
		h := &head{}
		_, _ = h.Write([]byte(text))
		if got := h.product(); got != want {
			t.Errorf("%q is of %q", text, got)
		}
	}
}
