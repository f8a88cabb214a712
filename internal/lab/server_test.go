package lab_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, l *lab.Lab, b lab.Build, spec lab.Spec) *lab.Server {
	t.Helper()
	began := time.Now()
	s, err := l.Server(t.Context(), b, spec)
	must(t, err)
	made := time.Since(began)
	must(t, s.Start(t.Context()))
	t.Logf("%s: made in %v, answered after %v more", b.Name, made.Round(time.Millisecond), (time.Since(began) - made).Round(time.Millisecond))
	return s
}

func TestServer(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		volume, err := l.Btrfs(t.Context(), "disk", 2<<30)
		must(t, err)
		s := start(t, l, b, lab.Spec{Name: "db", Datadir: filepath.Join(volume.Dir, "data"), Subvolume: true})
		if _, err := exec.Command("btrfs", "subvolume", "show", s.Datadir).Output(); err != nil {
			t.Errorf("the datadir is no subvolume: %v", err)
		}
		version, err := s.Value(t.Context(), "SELECT VERSION()")
		must(t, err)
		if want := strconv.Itoa(b.Major) + "." + strconv.Itoa(b.Minor) + "."; !strings.HasPrefix(version, want) {
			t.Errorf("version is %s, want %s", version, want)
		}
		checkOwner(t, s)
		checkWriter(t, s)
		checkService(t, s)
	})
}

func checkOwner(t *testing.T, s *lab.Server) {
	t.Helper()
	info, err := os.Stat("/proc/" + strconv.Itoa(s.PID()))
	must(t, err)
	if info.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Error("the server runs as root")
	}
}

// checkWriter kills the server under the writer: no acknowledged commit may be missing afterwards.
func checkWriter(t *testing.T, s *lab.Server) {
	t.Helper()
	w, err := s.Write(t.Context(), lab.WriterOptions{TCP: true})
	must(t, err)
	time.Sleep(500 * time.Millisecond)
	before := len(w.Seen().Acked)
	must(t, s.Kill())
	if s.Running() {
		t.Error("the killed server runs")
	}
	must(t, s.Start(t.Context()))
	time.Sleep(300 * time.Millisecond)
	result := w.Stop()
	t.Logf("%d commits before the kill, %d after, %d errors", before, len(result.Acked)-before, len(result.Errors))
	if before == 0 || len(result.Acked) == before || len(result.Errors) == 0 {
		t.Error("the writer did not live through the kill")
	}
	db, err := s.DB()
	must(t, err)
	defer db.Close()
	rows, sum, err := lab.Checksum(t.Context(), db, "sampledb.sampletable")
	must(t, err)
	if rows < int64(len(result.Acked)) || sum == "" {
		t.Errorf("%d rows, %d acknowledged", rows, len(result.Acked))
	}
	for _, a := range result.Acked {
		var word string
		if err := db.QueryRowContext(t.Context(), "SELECT word FROM sampledb.sampletable WHERE id = ?", a.ID).Scan(&word); err != nil {
			t.Fatalf("acknowledged row %d: %v", a.ID, err)
		}
	}
}

func checkService(t *testing.T, s *lab.Server) {
	t.Helper()
	began := time.Now()
	must(t, s.Stop(t.Context()))
	t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
	if s.Running() {
		t.Error("the stopped server runs")
	}
	must(t, s.Stop(t.Context())) // stopped is stopped
	// Output waits for the pipe's end: it would hang on a server that held it
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := exec.CommandContext(ctx, "sh", "-c", s.StartCommand()).Output(); err != nil {
		t.Fatal(err)
	}
	must(t, s.Start(t.Context())) // started is started
	if v, err := s.Value(t.Context(), "SELECT 1"); err != nil || v != "1" {
		t.Errorf("after the start command: %q, %v", v, err)
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		s, err := l.Server(t.Context(), b, lab.Spec{Name: "db"})
		must(t, err)
		text, err := os.ReadFile(s.OptionFile)
		must(t, err)
		must(t, os.WriteFile(s.OptionFile, []byte(strings.Replace(string(text), "[mysqld]\n", "[mysqld]\nno-such-option=1\n", 1)), 0o644))
		if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-option") {
			t.Errorf("got %v", err)
		}
	})
}

func TestReplicate(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		source := start(t, l, b, lab.Spec{Name: "source"})
		must(t, source.Exec(t.Context(), "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, f DOUBLE, b VARBINARY(9))", "INSERT INTO d.t VALUES (1, 1.5, x'00ff'), (2, NULL, NULL)"))
		for name, opts := range map[string]lab.ReplicateOptions{
			"gtid":    {GTID: true},
			"filepos": {},
			"channel": {GTID: true, Channel: "east"},
		} {
			if opts.Channel != "" && b.Product == lab.MySQL && !b.AtLeast(5, 7) {
				continue // channels came with 5.7
			}
			replica := start(t, l, b, lab.Spec{Name: name})
			must(t, lab.Replicate(t.Context(), source, replica, opts))
			waitFor(t, "two rows on "+name, func() bool {
				n, _ := replica.Value(t.Context(), "SELECT COUNT(*) FROM d.t")
				return n == "2"
			})
			if a, b := sum(t, source), sum(t, replica); a != b {
				t.Errorf("%s: checksum %s, the source has %s", name, b, a)
			}
			must(t, replica.Stop(t.Context()))
		}
		late := start(t, l, b, lab.Spec{Name: "late"})
		must(t, lab.Replicate(t.Context(), source, late, lab.ReplicateOptions{GTID: true, FromNow: true}))
		must(t, source.Exec(t.Context(), "CREATE DATABASE e"))
		waitFor(t, "what came after, but not before", func() bool {
			n, _ := late.Value(t.Context(), "SELECT GROUP_CONCAT(schema_name) FROM information_schema.schemata WHERE schema_name IN ('d', 'e')")
			return n == "e"
		})
	})
}

func sum(t *testing.T, s *lab.Server) string {
	t.Helper()
	db, err := s.DB()
	must(t, err)
	defer db.Close()
	rows, sum, err := lab.Checksum(t.Context(), db, "d.t")
	must(t, err)
	return strconv.FormatInt(rows, 10) + "/" + sum
}

// Equal rows have equal checksums on every product, whatever their order and the connection.
func TestChecksumIsTheSameEverywhere(t *testing.T) {
	var sums []string
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		s := start(t, labtest.New(t), b, lab.Spec{Name: "db"})
		rows := []string{"(1, 1.5, x'00ff', 'Zoë', '2024-02-29 12:00:00.123456')", "(2, NULL, '', NULL, '2024-02-29 12:00:01')", "(3, -0.25, NULL, '', '2024-02-29 12:00:02')"}
		if b.Product == lab.MySQL {
			slices.Reverse(rows)
		}
		must(t, s.Exec(t.Context(), "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY, f DOUBLE, b VARBINARY(9), w VARCHAR(20) CHARACTER SET utf8mb4, at TIMESTAMP(6)) ENGINE=InnoDB",
			"INSERT INTO d.t VALUES "+strings.Join(rows, ", ")))
		sums = append(sums, sum(t, s))
	})
	if len(slices.Compact(sums)) != 1 {
		t.Errorf("the checksums differ: %v", sums)
	}
}

func waitFor(t *testing.T, what string, true func() bool) {
	t.Helper()
	for range 500 {
		if true() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("waited ten seconds for %s", what)
}
