package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/lock"
)

func root(t testing.TB, socket string) *sql.DB {
	t.Helper()
	return must(sql.Open("mysql", "root@unix("+socket+")/?interpolateParams=true"))(t)
}

// TestKillInTheWindow kills the main process at random moments. Within a second all is thawed and unlocked without anybody running
// anything; after recover all is as before.
func TestKillInTheWindow(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 4}))(t)
		defer writer.Stop()
		took := time.Now()
		s.backup()
		whole := time.Since(took)
		before := s.look()
		for range 12 {
			cmd := s.command(t.Context(), normal, "", "backup")
			check(t, cmd.Start())
			// Most of the run is before the window: the later the likelier.
			time.Sleep(time.Duration((0.3 + 0.7*rand.Float64()) * float64(whole)))
			check(t, cmd.Process.Kill())
			_ = cmd.Wait()
			time.Sleep(time.Second)
			s.usable()
			s.holdstill("recover").want(t, 0)
			s.same(before)
		}
	})
}

// TestStateAndLogOnTheFrozenVolume puts the state directory and the log on the volume that is frozen: no run may hang.
func TestStateAndLogOnTheFrozenVolume(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		s.state = filepath.Join(s.volume.Dir, "holdstill-state")
		log := must(os.Create(filepath.Join(s.volume.Dir, "holdstill.log")))(t)
		defer log.Close()
		cmd := s.command(t.Context(), normal, "", "-v", "backup")
		cmd.Stdout, cmd.Stderr = log, log
		check(t, cmd.Run())
		s.usable()

		s.run = filepath.Join(s.volume.Dir, "holdstill-run") // but the evidence cannot lie there
		o := s.holdstill("backup").want(t, 1)
		contains(t, o.stderr, "would be frozen", "HOLDSTILL_RUN")
	})
}

// TestLostHoldIsTold kills the connection that holds the lock in mid-window: the point is not application-consistent, and the exit
// code is 3.
func TestLostHoldIsTold(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		cmd := s.command(t.Context(), faulty, "cut.act:hang", "--json", "backup", "--max-stall", "1s")
		check(t, cmd.Start())
		time.Sleep(4 * time.Second)
		s.usable() // it hangs in the window, and the watchdog has released the server
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		s.holdstill("recover").want(t, 0)

		check(t, s.server.Exec(t.Context(), "CREATE DATABASE sampledb", "CREATE TABLE sampledb.probe (a INT)"))
		killer := make(chan struct{})
		go func() {
			defer close(killer)
			s.killLockHolder()
		}()
		o := s.withFault("cut.acted:sleep", "--json", "backup", "--max-stall", "5s")
		<-killer
		p := o.want(t, 3).point(t)
		if p.Consistency != catalog.Crash || !strings.Contains(p.ConsistencyReason, "lost") {
			t.Errorf("consistency %s: %s", p.Consistency, p.ConsistencyReason)
		}
	})
}

// killLockHolder waits for a connection that holds the stalling lock, and kills it, as a DBA would in a hurry.
func (s *shop) killLockHolder() {
	db := root(s.t, s.server.Socket)
	defer db.Close()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var ids []int64
		found, err := db.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Sleep' AND USER = 'root' AND ID <> CONNECTION_ID()")
		if err != nil {
			continue
		}
		for found.Next() {
			var id int64
			if found.Scan(&id) == nil {
				ids = append(ids, id)
			}
		}
		_ = found.Close()
		if s.stalled() {
			for _, id := range ids {
				_, _ = db.Exec(fmt.Sprintf("KILL %d", id))
			}
			return
		}
	}
}

// stalled tries a commit with a short patience.
func (s *shop) stalled() bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	return s.server.Exec(ctx, "SET SESSION lock_wait_timeout = 1", "INSERT INTO sampledb.probe VALUES (1)") != nil
}

// TestStuckBlocksAndIsTold leaves a deed that nobody here can undo (a newer version's): the message says what to type, the exit code is
// 6, new runs are blocked, and --acknowledge tries once more and then ends it.
func TestStuckBlocksAndIsTold(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
	runs := filepath.Join(s.state, "runs")
	check(t, os.MkdirAll(runs, 0o700))
	ledger := `{"op":"run","run":"r1","instance":"shop"}
{"op":"promise","n":1,"deed":{"kind":"warp","stage":"hold","title":"bend space","manual":"unbend --space"}}
`
	check(t, os.WriteFile(filepath.Join(runs, "r1.ledger"), []byte(ledger), 0o600))
	contains(t, s.holdstill("recover").want(t, 6).stderr, "bend space", "type: unbend --space", "then: holdstill recover")
	contains(t, s.holdstill("backup").want(t, 6).stderr, "type: unbend --space")
	contains(t, s.holdstill("--json", "backup").want(t, 6).stdout, `"code": 6`, "type: unbend --space")
	contains(t, s.holdstill("recover", "--acknowledge").want(t, 0).stdout, "acknowledged, not taken back: bend space")
	contains(t, s.holdstill("recover").want(t, 0).stdout, "nothing was left behind")
	s.backup()

	// and so does what a run of nobody has left of the instance, such as a restore of tables
	ledger = `{"op":"run","run":"r2","instance":"run-r2"}
{"op":"promise","n":1,"deed":{"kind":"warp","stage":"swap","title":"bend tables","manual":"unbend --tables","instance":"shop"}}
`
	check(t, os.WriteFile(filepath.Join(runs, "r2.ledger"), []byte(ledger), 0o600))
	contains(t, s.holdstill("backup").want(t, 6).stderr, "bend tables", "type: unbend --tables")
	s.holdstill("points", "show", "latest", "--tables").want(t, 0) // a scratch server is none of its business
	living := must(lock.Take(s.run, "shop"))(t)                    // as a backup has it
	contains(t, s.holdstill("recover").want(t, 0).stderr, "Not touched", "shop")
	check(t, living.Close())
	living = must(lock.Take(s.run, "run-r2"))(t) // the restore lives: it changes places only while it has the instance
	s.backup()
	s.holdstill("recover", "shop", "--acknowledge").want(t, 0)
	check(t, living.Close())
	contains(t, s.holdstill("recover", "shop").want(t, 6).stderr, "unbend --tables")
	contains(t, s.holdstill("recover", "shop", "--acknowledge").want(t, 0).stdout, "acknowledged, not taken back: bend tables")
	s.backup()
}

// TestRecoverLeavesLivingRunsAlone runs recover beside a run that is under way, and beside a ledger that is damaged.
func TestRecoverLeavesLivingRunsAlone(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
	cmd := s.command(t.Context(), faulty, "cut.finished:hang", "backup")
	check(t, cmd.Start())
	time.Sleep(2 * time.Second)
	runs := filepath.Join(s.state, "runs")
	living := names(t, runs)
	check(t, os.WriteFile(filepath.Join(runs, "damaged.ledger"), []byte("nonsense\n"), 0o600))
	o := s.holdstill("recover").want(t, 6)
	contains(t, o.stderr, "damaged.ledger", "Not touched")
	s.holdstill("recover", "--acknowledge").want(t, 0)
	if now := names(t, runs); len(living) != 1 || !slices.Contains(now, living[0]) || len(s.cuts()) != 1 {
		t.Errorf("ledgers %v, now %v; cuts %v", living, now, s.cuts())
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	s.holdstill("recover").want(t, 0)
	if cuts := s.cuts(); len(cuts) > 0 {
		t.Errorf("cuts left: %v", cuts)
	}
	s.holdstill("recover", "shpo").want(t, 4)
}

// TestNoSecretAnywhere runs with an account that has a password and looks for it: argv and environment of every process, state, logs.
func TestNoSecretAnywhere(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		const secret = "Tr0ub4dor-and-3"
		s := open(t, build, onBtrfs)
		check(t, s.server.Exec(t.Context(), "CREATE USER 'holdstill'@'localhost' IDENTIFIED BY '"+secret+"'", "GRANT ALL PRIVILEGES ON *.* TO 'holdstill'@'localhost' WITH GRANT OPTION"))
		client := filepath.Join(s.lab.Dir(), "client.cnf")
		check(t, os.WriteFile(client, []byte("[client]\nuser=holdstill\npassword="+secret+"\n"), 0o600))
		s.configure("    client_option_file: " + client + "\n")
		cmd := s.command(t.Context(), faulty, "cut.act:hang", "-v", "backup", "--max-stall", "500ms")
		var logged strings.Builder
		cmd.Stderr = &logged
		check(t, cmd.Start())
		time.Sleep(2 * time.Second)
		for _, what := range []string{"cmdline", "environ"} {
			files := must(filepath.Glob("/proc/[0-9]*/" + what))(t)
			for _, f := range files {
				if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), secret) {
					t.Errorf("the password is in %s", f)
				}
			}
		}
		check(t, cmd.Process.Signal(syscall.SIGKILL))
		_ = cmd.Wait()
		s.holdstill("-v", "recover").want(t, 0)
		p := s.backup("-v")
		s.restoreTo(p, filepath.Join(s.volume.Dir, "restored"))
		for _, dir := range []string{s.state, s.run, filepath.Join(s.volume.Dir, "restored.conf")} {
			check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				if text := must(os.ReadFile(path))(t); strings.Contains(string(text), secret) {
					t.Errorf("the password is in %s", path)
				}
				return nil
			}))
		}
		if strings.Contains(logged.String(), secret) {
			t.Error("the password is in the log")
		}
	})
}

// TestRefusals goes through what must be refused before anything is touched, with its exit code and a telling message.
func TestRefusals(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
	p := s.backup()
	full := filepath.Join(s.volume.Dir, "full")
	check(t, os.MkdirAll(filepath.Join(full, "x"), 0o755))
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "no instance", []string{"backup", "nobody"}},
		{2, "--mode must be", []string{"backup", "--mode", "lukewarm"}},
		{2, "unknown flag", []string{"backup", "--warp"}},
		{2, "unknown command", []string{"bakcup"}},
		{2, "name a point", []string{"restore"}},
		{2, "--datadir", []string{"restore", "latest"}},
		{4, "no restore point", []string{"points", "show", "nothing"}},
		{4, "no restore point", []string{"restore", "latest~9", "--datadir", "/nowhere/x"}},
		{2, "not empty", []string{"restore", "latest", "--datadir", full}},
		{2, "running", []string{"restore", "latest", "--datadir", s.server.Datadir}},
		{1, "has no source", []string{"backup", "--mode", "locked"}},
		{2, "pinned", []string{"points", "rm", p.ID}},
	} {
		if c.want == "pinned" {
			s.holdstill("points", "pin", p.ID).want(t, 0)
		}
		o := s.holdstill(c.args...)
		if o.code != c.code || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%v: exit code %d, want %d and %q:\n%s", c.args, o.code, c.code, c.want, o.stderr)
		}
		j := s.holdstill(append([]string{"--json"}, c.args...)...)
		if j.code != c.code || !strings.Contains(j.stdout, `"error"`) {
			t.Errorf("--json %v: exit code %d, want %d and an error document:\n%s", c.args, j.code, c.code, j.stdout)
		}
	}
	known := s.state
	s.state += "-lost" // a catalogue that is lost hides no snapshot: the storage itself tells of it
	contains(t, s.holdstill("doctor").want(t, 0).stdout, p.ID, "belongs to no point")
	s.state = known
	s.holdstill("points", "unpin", p.ID).want(t, 0)
	s.holdstill("points", "rm", p.ID).want(t, 0)
	if cuts := s.cuts(); len(cuts) > 0 {
		t.Errorf("cuts left: %v", cuts)
	}
}

// TestOneRunAtATime holds the instance with a run that hangs; a second one is refused with 5.
func TestOneRunAtATime(t *testing.T) {
	s := open(t, must(lab.Find("mariadb-10.11"))(t), onBtrfs)
	cmd := s.command(t.Context(), faulty, "ledger.begun:hang", "backup")
	check(t, cmd.Start())
	time.Sleep(time.Second)
	contains(t, s.holdstill("backup").want(t, 5).stderr, "another run")
	s.holdstill("recover", "shop").want(t, 5)
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	s.backup()
}

// TestUnsupportedLayout runs doctor and backup on plain directories: both say why not, and what would be needed.
func TestUnsupportedLayout(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := openIn(t, labtest.New(t), build, "plain", "shop", lab.Spec{})
		o := s.holdstill("doctor").want(t, 1)
		contains(t, o.stdout, "no provider can cut", "btrfs:", "image:", "subvolume")
		contains(t, s.holdstill("backup").want(t, 1).stderr, "no provider can cut", "hint:")
		if left := names(t, filepath.Join(s.state, "runs")); len(left) > 0 {
			t.Errorf("ledgers left: %v", left)
		}
		_ = exec.Command("sync").Run()
	})
}
