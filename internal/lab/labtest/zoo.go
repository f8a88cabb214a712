package labtest

import (
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/lab"
)

// The databases of the zoo. The second has what a name may hold.
const (
	Zoo    = "zoo"
	OddZoo = "o'dd `zoo`.x-1"
)

// ZooStatements makes two databases with every kind of table, and the code beside them, that the build knows.
func ZooStatements(b lab.Build) []string {
	out := []string{
		"SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", "SET NAMES utf8mb4", "SET time_zone = '+03:00'",
		"CREATE DATABASE zoo CHARACTER SET utf8mb4", "USE zoo",
	}
	out = append(out, zooTypes()...)
	out = append(out, zooEngines(b)...)
	out = append(out, zooReferences...)
	out = append(out, zooCode...)
	if b.Product == lab.MariaDB {
		out = append(out, zooMariaDB...)
	} else if b.AtLeast(8, 0) {
		out = append(out, zooMySQL...)
	}
	return append(out, zooOdd()...)
}

func zooTypes() []string {
	var all strings.Builder // every byte there is
	for i := range 256 {
		fmt.Fprintf(&all, "%02x", i)
	}
	return []string{
		`CREATE TABLE types (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, ti TINYINT, bi BIGINT UNSIGNED, zf INT(8) UNSIGNED ZEROFILL, de DECIMAL(30,10), fl FLOAT, db DOUBLE,
			b1 BIT(1), b64 BIT(64), d DATE, t TIME(6), dt DATETIME(3), ts TIMESTAMP(6) NULL, y YEAR, c CHAR(10), vc VARCHAR(200), la VARCHAR(50) CHARACTER SET latin1,
			bn BINARY(4), vb VARBINARY(300), tb TINYBLOB, lb LONGBLOB, tx TEXT, e ENUM('a','it''s','ü'), s SET('x','y','z'), j JSON, g GEOMETRY, p POINT NOT NULL,
			gv INT GENERATED ALWAYS AS (ti * 2) VIRTUAL, gs VARCHAR(50) GENERATED ALWAYS AS (CONCAT(la, '!')) STORED,
			UNIQUE KEY u (vc), KEY k (dt, ti), KEY kg (gs), KEY pre (tx(20)), FULLTEXT KEY ft (tx), SPATIAL KEY sp (p)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='it''s a "zoo"; -- not'`,
		`INSERT INTO types (ti, bi, zf, de, fl, db, b1, b64, d, t, dt, ts, y, c, vc, la, bn, vb, tb, lb, tx, e, s, j, g, p) VALUES
			(-128, 18446744073709551615, 42, 12345678901234567890.0123456789, 3.14159265, 2.718281828459045e-200, b'1', X'FFFFFFFFFFFFFFFF', '2026-11-22', '-838:59:58.123456', '2026-11-22 13:00:00.123', '2026-11-22 13:00:00.654321', 2026,
			'trail ', 'naïve 😀 it''s; -- /* x */', 'Müß', X'00ff0027', X'` + all.String() + `', '', REPEAT(X'00275c220a0d1a', 2000), 'back\\slash\nnew;line \'', 'it''s', 'x,z', '{"a": [1, 2.5, null, "ü;"]}', ST_GeomFromText('LINESTRING(0 0,1 1,2 0)'), ST_GeomFromText('POINT(1 2)')),
			(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ST_GeomFromText('POINT(-1 0.1)')),
			(0, 0, 0, 0, -0e0, -0e0, b'0', b'0', '1000-01-01', '00:00:00', '1000-01-01 00:00:00', '1970-01-01 03:00:01', 1901, '', '', '', '', '', X'00', '', '', 'a', '', 'null', NULL, ST_GeomFromText('POINT(0 0)'))`,
		"INSERT INTO types (id, ti, vc, la, p) SELECT 0, 1, 'zero', 'z', ST_GeomFromText('POINT(7 7)')", // NO_AUTO_VALUE_ON_ZERO
		"CREATE TABLE zeroes (d DATE NOT NULL, dt DATETIME NOT NULL)", "INSERT INTO zeroes VALUES ('0000-00-00', '0000-00-00 00:00:00')",
		"CREATE TABLE nothing (id INT)",
		"CREATE TABLE many (id INT PRIMARY KEY AUTO_INCREMENT, a INT, t VARCHAR(100), KEY (a), KEY (t))",
		"INSERT INTO many (a, t) VALUES (1, 'one'), (2, 'two'), (3, NULL)",
		"INSERT INTO many (a, t) SELECT x.a * 7, CONCAT(x.t, y.t, z.id) FROM many x, many y, many z",
		"INSERT INTO many (a, t) SELECT x.a + y.a, CONCAT('row ', x.id, '-', y.id) FROM many x, many y",
	}
}

func zooEngines(b lab.Build) []string {
	out := []string{
		"CREATE TABLE isam (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(50), FULLTEXT (t)) ENGINE=MyISAM", "INSERT INTO isam (t) VALUES ('hello there'), ('general')",
		"CREATE TABLE csv (a INT NOT NULL, t VARCHAR(20) NOT NULL) ENGINE=CSV", "INSERT INTO csv VALUES (1, 'a,\"b\"')",
		"CREATE TABLE parts (id INT, y INT, t VARCHAR(20), PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION old VALUES LESS THAN (2000), PARTITION rest VALUES LESS THAN MAXVALUE)",
		"INSERT INTO parts VALUES (1, 1999, 'old'), (2, 2026, 'new')",
		"CREATE TABLE packed (id INT PRIMARY KEY, t TEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8", "INSERT INTO packed VALUES (1, REPEAT('abc', 5000))",
	}
	if b.Product == lab.MariaDB {
		return append(out, "CREATE TABLE aria (id INT PRIMARY KEY, t TEXT) ENGINE=Aria TRANSACTIONAL=1", "INSERT INTO aria VALUES (1, 'x'), (2, REPEAT('y', 9000))")
	}
	return out
}

var zooReferences = []string{
	"CREATE TABLE zparent (id INT PRIMARY KEY, up INT, KEY (up), CONSTRAINT self FOREIGN KEY (up) REFERENCES zparent (id))",
	"CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT fk_parent FOREIGN KEY (parent) REFERENCES zparent (id) ON DELETE CASCADE ON UPDATE SET NULL)",
	"INSERT INTO zparent VALUES (1, NULL), (2, 1)", "INSERT INTO child VALUES (10, 1), (11, 2), (12, NULL)",
}

var zooCode = []string{
	"CREATE FUNCTION twice(a INT) RETURNS INT DETERMINISTIC RETURN a * 2",
	"CREATE PROCEDURE two() BEGIN SELECT 1; SELECT 'a;b -- c'; END",
	"CREATE VIEW base_v AS SELECT id, t FROM many WHERE a > 1", "CREATE VIEW a_v AS SELECT id, twice(id) AS d FROM base_v",
	"CREATE TRIGGER trg BEFORE INSERT ON many FOR EACH ROW BEGIN IF NEW.a < 0 THEN SET NEW.a = 0; END IF; END",
	"CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DISABLE DO BEGIN DELETE FROM nothing; END",
}

var zooMariaDB = []string{
	"CREATE SEQUENCE seq START WITH 100 INCREMENT BY 5 CACHE 10", "SELECT NEXTVAL(seq)", "SELECT NEXTVAL(seq)",
	"CREATE TABLE history (id INT PRIMARY KEY, t VARCHAR(20)) WITH SYSTEM VERSIONING", "INSERT INTO history VALUES (1, 'first')", "UPDATE history SET t = 'second'",
	"CREATE TABLE mtypes (u UUID, i6 INET6, id INT INVISIBLE DEFAULT 7, c TEXT COMPRESSED)", "INSERT INTO mtypes (u, i6, c) VALUES (UUID(), '2001:db8::1', REPEAT('z', 500))",
	"CREATE TABLE seqdef (id INT DEFAULT NEXTVAL(seq), t INT)", "INSERT INTO seqdef (t) VALUES (1)",
}

var zooMySQL = []string{
	"CREATE TABLE msql (id INT PRIMARY KEY, h INT INVISIBLE, t VARCHAR(20) COLLATE utf8mb4_0900_as_cs, j JSON, CHECK (id > 0), KEY e ((id * 2)), KEY d (t DESC))",
	`INSERT INTO msql (id, h, t, j) VALUES (1, 2, 'x', '{"b": 1, "a": true}')`,
}

func zooOdd() []string {
	q := func(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
	return []string{
		"CREATE DATABASE " + q(OddZoo) + " CHARACTER SET latin1", "USE " + q(OddZoo),
		"CREATE TABLE " + q("ta`ble \"q\" $x;--") + " (" + q("co`l umn;'") + " INT PRIMARY KEY, v VARCHAR(10), KEY " + q("i`dx") + " (v))",
		"INSERT INTO " + q("ta`ble \"q\" $x;--") + " VALUES (1, 'Ünix')",
		"CREATE TABLE " + q(strings.Repeat("é", 64)) + " (id INT)", "INSERT INTO " + q(strings.Repeat("é", 64)) + " VALUES (64)",
		"CREATE TABLE " + q("日本") + " (id INT)",
		"CREATE VIEW " + q("v-1") + " AS SELECT * FROM " + q("日本"),
	}
}
