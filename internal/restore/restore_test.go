package restore_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/restore/restoretest"
	"github.com/holdstill/holdstill/internal/snapshot/btrfs"
	"github.com/holdstill/holdstill/internal/wire"
)

const table = "sampledb.sampletable"

func kit(t *testing.T, l *lab.Lab) restoretest.Kit {
	return restoretest.Kit{Provider: btrfs.New(), Connect: wire.Connect, Registry: restore.Undoers(), Ledgers: filepath.Join(l.Dir(), "runs")}
}

func deps(k restoretest.Kit) restore.Deps { return restore.Deps{Open: k.Open} }

func account() database.Endpoint { return database.Endpoint{User: "root"} }

// live is a running server on a btrfs subvolume, with rows.
func live(t *testing.T, l *lab.Lab, b lab.Build, vol *lab.Volume, name string, options ...string) *lab.Server {
	t.Helper()
	restoretest.Env(t, b)
	s, err := l.Server(t.Context(), b, lab.Spec{Name: name, Datadir: filepath.Join(vol.Dir, name), Subvolume: true, Options: options})
	must(t, err)
	must(t, s.Start(t.Context()))
	must(t, s.Exec(t.Context(), "CREATE DATABASE sampledb",
		"CREATE TABLE "+table+" (id BIGINT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(64), written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=InnoDB",
		"INSERT INTO "+table+" (word) VALUES ('one'), ('two'), ('three')"))
	return s
}

func volume(t *testing.T, l *lab.Lab) *lab.Volume {
	t.Helper()
	v, err := l.Btrfs(t.Context(), "vol", 6<<30)
	must(t, err)
	must(t, os.Chmod(v.Dir, 0o755))
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		var hint interface{ Hint() string }
		if errors.As(err, &hint) {
			t.Fatalf("%v (%s)", err, hint.Hint())
		}
		t.Fatal(err)
	}
}

func count(t *testing.T, s *lab.Server) string {
	t.Helper()
	n, err := s.Value(t.Context(), "SELECT COUNT(*) FROM "+table)
	must(t, err)
	return n
}

// The rows of the restored server are those that the original had while it was held, with writers committing before and after.
func TestRestoreOfALiveServer(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		vol := volume(t, l)
		s := live(t, l, b, vol, "a")
		k := kit(t, l)
		w, err := s.Write(t.Context(), lab.WriterOptions{})
		must(t, err)
		defer w.Stop()
		time.Sleep(300 * time.Millisecond)
		var rows string
		point := k.Point(t, s, func() { rows = count(t, s) })
		time.Sleep(200 * time.Millisecond)

		run := k.Run(t, s.Name)
		dir := filepath.Join(vol.Dir, "restored")
		begun := time.Now()
		r, err := restore.Restore(t.Context(), run, restore.Request{Point: point, Datadir: dir, Start: true, Account: account()}, deps(k))
		must(t, err)
		must(t, run.End())
		t.Logf("restored in %s: %s", time.Since(begun).Round(time.Millisecond), strings.Join(r.Verified, "; "))
		if r.How != restore.Clone || len(r.Warnings) > 0 || !r.Running || r.Port == s.Port {
			t.Errorf("result: %+v", r)
		}
		if !strings.Contains(strings.Join(r.Verified, "; "), "the GTID position is the recorded one") {
			t.Errorf("the position was not verified: %q", r.Verified)
		}
		db := restoretest.DB(t, r.Socket)
		var got string
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&got))
		if got != rows {
			t.Errorf("the restored server has %s rows, the original had %s", got, rows)
		}
		if open := restoretest.OpenBelow(t, r.PID, s.Datadir); len(open) > 0 {
			t.Errorf("the restored server has files of the original open: %q", open)
		}
		content, err := os.ReadFile(r.OptionFile)
		must(t, err)
		for _, path := range []string{s.Datadir, s.Dir} {
			if strings.Contains(string(content), path+"/") || strings.Contains(string(content), path+"\n") {
				t.Errorf("the option file names %s of the original:\n%s", path, content)
			}
		}
		if left := k.TakeBack(t); len(left) > 0 {
			t.Errorf("a restore that succeeded left deeds: %+v", left)
		}
		noMarks(t, dir)
		before := count(t, s)
		time.Sleep(200 * time.Millisecond)
		if count(t, s) == before {
			t.Error("the original does not get writes any more")
		}
	})
}

func noMarks(t *testing.T, dir string) {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(dir, ".holdstill*"))
	beside, _ := filepath.Glob(dir + ".holdstill-*")
	if len(found)+len(beside) > 0 {
		t.Errorf("left over: %q %q", found, beside)
	}
}

// On another file system everything is copied: the same files, owners, modes and contents, and no server is left running.
func TestRestoreToAnotherFileSystem(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		s := live(t, l, b, volume(t, l), "a")
		k := kit(t, l)
		point := k.Point(t, s, nil)
		dir := filepath.Join(l.Dir(), "deep", "er", "copy")
		var progress []restore.Event
		d := deps(k)
		d.Progress = func(e restore.Event) { progress = append(progress, e) }
		r, err := restore.Restore(t.Context(), k.Run(t, s.Name), restore.Request{Point: point, Datadir: dir, Account: account()}, d)
		must(t, err)
		if r.How != restore.Copy || r.Bytes == 0 || r.Running {
			t.Errorf("result: %+v", r)
		}
		same(t, s.Datadir, dir, "mysql")
		same(t, s.Datadir, dir, "sampledb")
		if pid := pidOf(dir); pid != 0 {
			t.Errorf("process %d still serves the copy", pid)
		}
		if len(progress) < 3 {
			t.Errorf("hardly any progress: %+v", progress)
		}
	})
}

// same compares owner, mode and kind of everything below a directory of both.
func same(t *testing.T, a, b, below string) {
	t.Helper()
	seen := 0
	must(t, filepath.WalkDir(filepath.Join(a, below), func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		one, err := os.Lstat(path)
		must(t, err)
		two, err := os.Lstat(b + strings.TrimPrefix(path, a))
		must(t, err)
		x, y := one.Sys().(*syscall.Stat_t), two.Sys().(*syscall.Stat_t)
		if one.Mode() != two.Mode() || x.Uid != y.Uid || x.Gid != y.Gid || one.Size() != two.Size() && !d.IsDir() {
			t.Errorf("%s: %v %d:%d %d bytes, the copy %v %d:%d %d bytes", path, one.Mode(), x.Uid, x.Gid, one.Size(), two.Mode(), y.Uid, y.Gid, two.Size())
		}
		seen++
		return nil
	}))
	if seen < 2 {
		t.Errorf("nothing below %s/%s", a, below)
	}
}

func pidOf(datadir string) int {
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, cwd := range cwds {
		if target, err := os.Readlink(cwd); err == nil && target == datadir {
			pid, _ := strconv.Atoi(strings.Split(cwd, "/")[2])
			return pid
		}
	}
	return 0
}

// Binary logs and relay logs elsewhere, by absolute names: they come inside, and a purge on the copy leaves the original's alone.
func TestLogsOutsideAreBroughtIn(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		vol := volume(t, l)
		logs := filepath.Join(vol.Dir, "logs")
		must(t, os.Mkdir(logs, 0o755))
		must(t, os.Chown(logs, mysqlID(t), mysqlID(t)))
		options := []string{"log-bin=" + logs + "/changes", "log-bin-index=" + logs + "/changes.index", "general-log-file=" + logs + "/general.log", "general-log=1"}
		if b.Product == lab.MySQL {
			options = append(options, "innodb-log-group-home-dir="+logs, "innodb-undo-directory="+logs)
		}
		s := live(t, l, b, vol, "a", options...)
		if b.Product == lab.MariaDB { // its installation knows no options
			must(t, s.Stop(t.Context()))
			must(t, exec.CommandContext(t.Context(), "mv", filepath.Join(s.Datadir, "ib_logfile0"), logs).Run())
			content, err := os.ReadFile(s.OptionFile)
			must(t, err)
			changed := strings.Replace(string(content), "[mysqld]\n", "[mysqld]\ninnodb-log-group-home-dir="+logs+"\n", 1)
			must(t, os.WriteFile(s.OptionFile, []byte(changed), 0o644))
			must(t, s.Start(t.Context()))
		}
		must(t, s.Exec(t.Context(), "FLUSH BINARY LOGS", "INSERT INTO "+table+" (word) VALUES ('four')", "FLUSH BINARY LOGS"))
		k := kit(t, l)
		point := k.Point(t, s, nil)
		before := names(t, logs)
		r, err := restore.Restore(t.Context(), k.Run(t, s.Name), restore.Request{Point: point, Datadir: filepath.Join(vol.Dir, "restored"), Start: true, Account: account()}, deps(k))
		must(t, err)
		index, err := os.ReadFile(filepath.Join(r.Datadir, "changes.index"))
		must(t, err)
		if strings.Contains(string(index), logs) || !strings.Contains(string(index), "./changes.000001") {
			t.Errorf("the index of the copy: %q", index)
		}
		db := restoretest.DB(t, r.Socket)
		var last string
		must(t, db.QueryRowContext(t.Context(), "SELECT @@log_bin_basename").Scan(&last))
		if last != filepath.Join(r.Datadir, "changes") {
			t.Errorf("the copy writes its binary log to %s", last)
		}
		_, err = db.ExecContext(t.Context(), "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")
		must(t, err)
		var rows int
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&rows))
		if rows != 4 {
			t.Errorf("the copy has %d rows", rows)
		}
		if after := names(t, logs); after != before {
			t.Errorf("the original's binary logs were %s and are %s", before, after)
		}
		if open := append(restoretest.OpenBelow(t, r.PID, logs), restoretest.OpenBelow(t, r.PID, s.Datadir)...); len(open) > 0 {
			t.Errorf("the copy has files of the original open: %q", open)
		}
	})
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func mysqlID(t *testing.T) int {
	t.Helper()
	info, err := os.Stat("/var/lib/mysql")
	must(t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// Whatever goes wrong: the target is as before, and no server is left.
func TestUndoLeavesNothing(t *testing.T) {
	l := labtest.New(t)
	vol := volume(t, l)
	b, err := lab.Find("mariadb-10.11")
	must(t, err)
	s := live(t, l, b, vol, "a")
	k := kit(t, l)
	point := k.Point(t, s, nil)
	for _, stage := range []string{"place", "config", "scratch", "server"} {
		for name, dir := range map[string]string{"clone": filepath.Join(vol.Dir, "gone"), "copy": filepath.Join(l.Dir(), "new", "gone")} {
			t.Run(stage+" "+name, func(t *testing.T) {
				run := k.Run(t, s.Name)
				d := deps(k)
				ctx, cancel := context.WithCancel(t.Context())
				d.Progress = func(e restore.Event) {
					if e.Stage == stage {
						cancel()
					}
				}
				_, err := restore.Restore(ctx, run, restore.Request{Point: point, Datadir: dir, Start: true, Account: account()}, d)
				if err == nil {
					t.Fatal("it went on after the cancellation")
				}
				must(t, run.Unwind(context.Background()))
				must(t, run.End())
				gone(t, dir)
			})
		}
	}
	if _, err := s.Value(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}

func gone(t *testing.T, dir string) {
	t.Helper()
	found, _ := filepath.Glob(dir + "*")
	if len(found) > 0 {
		t.Errorf("left: %q", found)
	}
	if pid := pidOf(dir); pid != 0 {
		t.Errorf("process %d still serves the copy", pid)
	}
}
