package dumpfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdstill/holdstill/internal/schema"
)

var moment = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

func TestFileNames(t *testing.T) {
	if got := FileName(schema.Name{Database: "sampledb", Table: "sampletable"}, moment, ".gz"); got != "mysqldump-sampledb-sampletable-20261122-1300.sql.gz" {
		t.Error(got)
	}
	seen := map[string]schema.Name{}
	for _, db := range []string{"a", "a-b", "a%2Db", "b", "A", "läden", "x/y", "..", ".", "a b", "é", "a~b"} {
		for _, table := range []string{"c", "b-c", "c-20261122-1300", "日本", "..", "`", "\"x'"} {
			n := schema.Name{Database: db, Table: table}
			file := FileName(n, moment, ".zst")
			if before, twice := seen[file]; twice || strings.ContainsAny(file, "/ `'\"") {
				t.Errorf("%v and %v are both %s", before, n, file)
			}
			seen[file] = n
			if got, at, ok := ParseFileName(file); !ok || got != n || !at.Equal(moment) {
				t.Errorf("%s reads as %v at %v, %v", file, got, at, ok)
			}
		}
	}
	long := schema.Name{Database: strings.Repeat("é", 64), Table: strings.Repeat("-", 64)}
	other := schema.Name{Database: long.Database, Table: strings.Repeat("-", 63) + "x"}
	if a, b := FileName(long, moment, ".gz"), FileName(other, moment, ".gz"); len(a)+len(PartSuffix) > 255 || a == b {
		t.Errorf("%s, %s", a, b)
	}
	for _, file := range []string{"mysqldump-a-b.sql", "mysqldump-a-b-20261122-1300", "x.sql", "mysqldump-a-%2-20261122-1300.sql", "mysqldump-a-%41-20261122-1300.sql"} {
		if n, _, ok := ParseFileName(file); ok {
			t.Errorf("%s reads as %v", file, n)
		}
	}
}

const text = "/*M!999999\\- enable the sandbox mode */ \n-- a; comment\n# 'and; another\n/* and; one */\n" +
	"SET NAMES utf8mb4;\n;;\n/*!40101 SET @a=';' */;\n" +
	"INSERT INTO `t``(;` VALUES (1,'it\\'s; (''x'')', \"a;\"),\n(2, '\\\\'),(3,(4));\n" +
	"INSERT INTO t (a, b) VALUES (1,2) -- ;\n, (3,4);SELECT 1--2;\n" +
	"DELIMITER ;;\nCREATE TRIGGER x BEGIN SELECT 1; END;;\n/*!50003 END */;;\ndelimiter ;\nSELECT 5"

func TestStatements(t *testing.T) {
	want := []string{"SET NAMES utf8mb4", "/*!40101 SET @a=';' */", "INSERT INTO `t``(;` VALUES (1,'it\\'s; (''x'')', \"a;\"),\n(2, '\\\\'),(3,(4))",
		"INSERT INTO t (a, b) VALUES (1,2) -- ;\n, (3,4)", "SELECT 1--2", "CREATE TRIGGER x BEGIN SELECT 1; END", "/*!50003 END */", "SELECT 5"}
	lines := []int{5, 7, 8, 10, 11, 13, 14, 16}
	for name, in := range map[string]io.Reader{"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(iotest.DataErrReader(strings.NewReader(text)))} {
		s := NewStatements(in)
		var rows int64
		for i := 0; ; i++ {
			got, err := s.Next()
			if errors.Is(err, io.EOF) {
				if i != len(want) {
					t.Errorf("%s: %d statements", name, i)
				}
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if i >= len(want) || string(got.Text) != want[i] || got.Line != lines[i] {
				t.Fatalf("%s: statement %d is %q in line %d", name, i, got.Text, got.Line)
			}
			rows += RowsOf(got)
		}
		if rows != 5 {
			t.Errorf("%s: %d rows", name, rows)
		}
	}
}

func TestTornText(t *testing.T) {
	for _, torn := range []string{"INSERT INTO t VALUES ('a;", "SELECT /* x;", "/*!40101 SET x;", "INSERT INTO t VALUES ('a\\"} {
		if got, err := NewStatements(strings.NewReader(torn)).Next(); !errors.Is(err, ErrTorn) {
			t.Errorf("%q: %q, %v", torn, got.Text, err)
		}
	}
}

func TestPackedAndRead(t *testing.T) {
	body := bytes.Repeat([]byte("INSERT INTO t VALUES (1);\n"), 10000)
	for _, c := range []Compression{Gzip, Zstd, None} {
		path := t.TempDir() + "/f"
		var packed bytes.Buffer
		w, err := c.Pack(&packed)
		must(t, err)
		got, err := Count(w, io.MultiReader(bytes.NewReader(body), strings.NewReader("-- Dump completed\n")))
		must(t, errors.Join(err, w.Close(), write(path, packed.Bytes())))
		if got.Rows != 10000 || !got.Complete || got.Bytes != int64(len(body)+18) {
			t.Errorf("%s: %+v", c, got)
		}
		in, p, err := Open(path)
		must(t, err)
		back, err := io.ReadAll(in)
		must(t, errors.Join(err, in.Close()))
		if !slices.Equal(back[:len(body)], body) || p.Done() != p.Total {
			t.Errorf("%s: %d bytes, %d of %d read", c, len(back), p.Done(), p.Total)
		}
		flipped(t, path, packed.Bytes())
		if c == None {
			continue
		}
		must(t, write(path, packed.Bytes()[:packed.Len()/2]))
		if in, _, err = Open(path); err == nil {
			_, err = io.ReadAll(in)
		}
		if err == nil {
			t.Errorf("%s: half a file is read without an error", c)
		}
	}
}

// flipped: a file of which any byte differs from what the manifest says is not read to its end.
func flipped(t *testing.T, path string, packed []byte) {
	t.Helper()
	sum := sha256.Sum256(packed)
	read := func(content []byte) error {
		must(t, write(path, content))
		in, _, err := OpenWhole(path, hex.EncodeToString(sum[:]))
		if err == nil {
			_, err = io.Copy(io.Discard, in)
			err = errors.Join(err, in.Close())
		}
		return err
	}
	must(t, read(packed))
	var damaged *DamagedError
	for _, at := range []int{0, 4, 9, len(packed) / 2, len(packed) - 1} {
		other := bytes.Clone(packed)
		other[at] ^= 1
		if err := read(other); !errors.As(err, &damaged) {
			t.Errorf("%s, byte %d: %v", path, at, err)
		}
	}
	if err := read(append(bytes.Clone(packed), 0)); !errors.As(err, &damaged) {
		t.Errorf("%s with a byte more: %v", path, err)
	}
}

func FuzzStatements(f *testing.F) {
	f.Add([]byte(text))
	f.Fuzz(func(t *testing.T, in []byte) {
		all := func(r io.Reader) (out []string) {
			s := NewStatements(r)
			for {
				got, err := s.Next()
				if err != nil {
					return append(out, err.Error())
				}
				out = append(out, string(got.Text))
			}
		}
		if a, b := all(bytes.NewReader(in)), all(iotest.OneByteReader(bytes.NewReader(in))); !slices.Equal(a, b) {
			t.Errorf("%q, or byte by byte %q", a, b)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	row := "(123456,'some text that is not too short',NULL,3.14159,'2026-11-22 13:00:00'),"
	body := []byte("INSERT INTO `t` VALUES " + strings.Repeat(row, 10000) + "(1,'',NULL,1,'');\n-- Dump completed\n")
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Count(io.Discard, bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}
