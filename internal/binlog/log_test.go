package binlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// written makes a log of many kinds of transactions on a real server, and reads it.
func written(t *testing.T, build lab.Build) []byte {
	t.Helper()
	l := labtest.New(t)
	s, err := l.Server(t.Context(), build, lab.Spec{Name: "writer"})
	must(t, err)
	must(t, s.Start(t.Context()))
	statements := []string{"CREATE DATABASE d", "CREATE TABLE d.a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))", "CREATE TABLE d.b (id INT PRIMARY KEY) ENGINE=MyISAM", "USE d"}
	for i := range 300 {
		statements = append(statements, fmt.Sprintf("INSERT INTO a (v) VALUES (REPEAT('%c', 100)), ('x')", 'a'+i%26))
		switch i % 60 {
		case 10:
			statements = append(statements, "BEGIN", "UPDATE a SET v = 'y' WHERE id % 3 = 0", "SAVEPOINT s", "DELETE FROM a WHERE id % 7 = 0", "COMMIT")
		case 20:
			statements = append(statements, fmt.Sprintf("INSERT INTO b VALUES (%d)", i), "TRUNCATE TABLE b")
		case 30:
			statements = append(statements, "XA START 'x'", "DELETE FROM a WHERE id % 11 = 0", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'")
		case 40:
			statements = append(statements, "SET SESSION binlog_format = STATEMENT", "UPDATE a SET v = CONCAT(v, '!') WHERE id % 5 = 0", "SET SESSION binlog_format = ROW")
		case 50:
			statements = append(statements, "CREATE TABLE c SELECT * FROM a LIMIT 10", "ALTER TABLE c ADD COLUMN n INT", "DROP TABLE c")
		}
	}
	must(t, s.Exec(t.Context(), append(statements, "FLUSH BINARY LOGS")...))
	all, err := filepath.Glob(filepath.Join(s.Datadir, "binlog.0*"))
	must(t, err)
	slices.Sort(all)
	raw, err := os.ReadFile(all[len(all)-2])
	must(t, err)
	return raw
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func described(t *testing.T, raw []byte) (all []Detail) {
	t.Helper()
	must(t, Describe(bytes.NewReader(raw), func(d Detail) error { all = append(all, d); return nil }))
	return all
}

// TestLog reads a real log: its transactions follow on one another without a hole, each with the next GTID, and say what they do; every damage is
// found; and the index finds what a reading of the whole finds.
func TestLog(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		raw := written(t, build)
		all := described(t, raw)
		t.Run("transactions", func(t *testing.T) { follows(t, raw, all) })
		t.Run("damage", func(t *testing.T) { damaged(t, raw) })
		t.Run("index", func(t *testing.T) { indexed(t, raw, all) })
		t.Run("rotation", func(t *testing.T) { rotated(t, raw) })
	})
}

func follows(t *testing.T, raw []byte, all []Detail) {
	if len(all) < 340 {
		t.Errorf("only %d transactions", len(all))
	}
	number := func(gtid string) (n int) {
		_, _ = fmt.Sscanf(gtid[strings.LastIndexAny(gtid, ":-")+1:], "%d", &n)
		return n
	}
	kinds := map[Kind]int{}
	for i, d := range all {
		if i > 0 && (d.Start != all[i-1].End || number(d.GTID) != number(all[i-1].GTID)+1 || d.Time.Before(all[i-1].Time)) {
			t.Errorf("%d: %+v follows on %+v", i, d, all[i-1])
		}
		for _, deed := range d.Deeds {
			kinds[deed.Kind] += deed.Rows
		}
		for _, s := range d.Statements {
			kinds[s.Kind]++
		}
		if d.Stated != slices.ContainsFunc(d.Statements, func(s Stated) bool { return s.Kind == Statement }) {
			t.Errorf("%+v", d)
		}
	}
	if kinds[Insert] < 600 || kinds[Update] == 0 || kinds[Delete] == 0 || kinds[Truncate] != 5 || kinds[Drop] != 5 || kinds[DDL] < 8 || kinds[Statement] != 5 {
		t.Errorf("rows and statements by kind: %v", kinds)
	}
	if end := all[len(all)-1].End; int(end) > len(raw) {
		t.Errorf("the last ends at %d of %d", end, len(raw))
	}
}

func damaged(t *testing.T, raw []byte) {
	ends := map[int]bool{}
	must(t, Scan(bytes.NewReader(raw), func(e Event) error { ends[int(e.End)] = true; return nil }))
	nothing := func(Event) error { return nil }
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		at := int(Start) + random.IntN(len(raw)-int(Start))
		flipped := slices.Clone(raw)
		flipped[at] ^= 1 << random.IntN(8)
		var d *DamagedError
		if err := Scan(bytes.NewReader(flipped), nothing); !errors.As(err, &d) || d.Offset > int64(at) {
			if at != int(Start)+17 { // the mark of a file in use
				t.Errorf("a flipped bit at %d: %v", at, err)
			}
		}
		if err := Scan(bytes.NewReader(raw[:at]), nothing); (err == nil) != ends[at] && at != int(Start) {
			t.Errorf("cut at %d, which ends an event: %v: %v", at, ends[at], err)
		}
	}
}

func indexed(t *testing.T, raw []byte, all []Detail) {
	x, err := MakeIndex(bytes.NewReader(raw), int64(len(raw)))
	must(t, err)
	middle := all[len(all)/2]
	for _, q := range []Question{
		{}, {Database: "d"}, {Database: "D", Table: "A"}, {Database: "d", Table: "b"}, {Database: "d", Table: "nothing"}, {Database: "nothing"},
		{Kinds: []Kind{Drop}}, {Kinds: []Kind{Truncate}, Database: "d", Table: "b"}, {Kinds: []Kind{DDL}}, {Kinds: []Kind{Delete, Update}}, {Rows: 3}, {Rows: 100000},
		{Since: middle.Time}, {Until: middle.Time}, {Rows: 50, Database: "d", Table: "a", Kinds: []Kind{Delete}},
	} {
		var want, got []int64
		for _, d := range all {
			if q.Answers(&d) {
				want = append(want, d.Start)
			}
		}
		must(t, x.Search(bytes.NewReader(raw), &q, func(d Detail) error { got = append(got, d.Start); return nil }))
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d by the index, %d by reading all", q, len(got), len(want))
		}
	}
	first := 0
	must(t, x.Search(bytes.NewReader(raw), &Question{}, func(Detail) error { first++; return ErrStop }))
	if first != 1 {
		t.Errorf("stopped after %d", first)
	}
}

// rotated puts an event of ours into the log, behind the first, and lets the library read it.
func rotated(t *testing.T, raw []byte) {
	first := 0
	must(t, Scan(bytes.NewReader(raw), func(e Event) error { first = int(e.End); return ErrStop }))
	with := slices.Concat(raw[:first], Rotation("binlog.000077", 9, true), raw[first:])
	name := ""
	parser := replication.NewBinlogParser()
	parser.SetVerifyChecksum(true)
	must(t, parser.ParseReader(bytes.NewReader(with[Start:]), func(e *replication.BinlogEvent) error {
		if r, ok := e.Event.(*replication.RotateEvent); ok && name == "" {
			name = fmt.Sprintf("%s:%d of %d", r.NextLogName, r.Position, e.Header.ServerID)
		}
		return nil
	}))
	if name != "binlog.000077:4 of 9" {
		t.Errorf("read as %q", name)
	}
}
