package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
)

// killedAnew kills a restore while it replays: recover leaves nothing of it.
func (s *shop) killedAnew(t *testing.T, to moment) {
	t.Helper()
	dir := filepath.Join(s.volume.Dir, "then")
	cmd := s.command(t.Context(), normal, "", "restore", "--datadir", dir, "--start", "--until-gtid", to.gtid)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	check(t, cmd.Start())
	s.awaitsReplay(dir, &said)
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	check(t, s.lab.Adopt(pidIn(t, dir)))
	contains(t, s.holdstill("recover").want(t, 0).stdout, "taken back: make the data directory "+dir)
	if left := names(t, filepath.Join(s.state, "runs")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, path := range []string{dir, dir + ".conf"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}

func pidIn(t *testing.T, dir string) int {
	t.Helper()
	return must(strconv.Atoi(strings.TrimSpace(string(must(os.ReadFile(filepath.Join(dir, "mysqld.pid")))(t)))))(t)
}

// awaitsReplay waits until a replay in a data directory has written relay logs and a moment has passed.
func (s *shop) awaitsReplay(dir string, said *bytes.Buffer) {
	s.t.Helper()
	for until := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if found, _ := filepath.Glob(filepath.Join(dir, "*-holdstill.000002")); len(found) > 0 {
			break
		}
		if found, _ := filepath.Glob(filepath.Join(dir, "*-holdstill.index")); len(found) > 0 {
			break
		}
		if time.Now().After(until) {
			s.t.Fatalf("no replay is under way:\n%s", said.String())
		}
	}
	time.Sleep(100 * time.Millisecond)
}

// many makes small transactions, each of its own.
func (s *shop) many(j *journal, n int) {
	j.do("CREATE PROCEDURE many(IN n INT) BEGIN WHILE n > 0 DO INSERT INTO log (what) VALUES (CONCAT('many ', n)); SET n = n - 1; END WHILE; END",
		"SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 0", "CALL many("+strconv.Itoa(n)+")")
}

// killedFurther kills the program in the middle of a replay; and with it the copy's server.
func (s *shop) killedFurther(t *testing.T, build lab.Build, dir string, to moment) {
	t.Helper()
	since := ""
	for _, server := range []bool{false, true} {
		if !server && build.Product == lab.MySQL {
			continue // no code differs, and its servers start slowly
		}
		cmd := s.command(t.Context(), normal, "", "restore", "--continue", dir, "--until-gtid", to.gtid)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		check(t, cmd.Start())
		state := filepath.Join(dir+".conf", restore.StateName)
		for until := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			var now pitr.State
			if raw, err := os.ReadFile(state); err == nil && json.Unmarshal(raw, &now) == nil && now.Going != nil && now.Going.Since.String() != since {
				since = now.Going.Since.String()
				break
			}
			if time.Now().After(until) {
				_ = cmd.Process.Kill()
				t.Fatalf("no replay is under way:\n%s", said.String())
			}
		}
		time.Sleep(50 * time.Millisecond)
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		pid := pidIn(t, dir)
		check(t, s.lab.Adopt(pid))
		if server {
			check(t, syscall.Kill(pid, syscall.SIGKILL))
			for restore.Lives(pid) {
				time.Sleep(time.Millisecond)
			}
			continue
		}
		contains(t, s.holdstill("recover").want(t, 0).stdout, "taken back: start a server on "+dir)
	}
}
