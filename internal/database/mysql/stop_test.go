package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
	"github.com/holdstill/holdstill/internal/database/mysql"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestStopInHalfATransaction: the receiver has only a part of the transaction that the applier has begun, and the applier is stopped right
// then. MySQL's STOP REPLICA SQL_THREAD waits for the rest, and keeps a receiver that has lost its source from connecting anew meanwhile,
// so that it never comes: for 60 s nothing happens, no KILL is heard, and then the applier stops with an error.
func TestStopInHalfATransaction(t *testing.T) {
	for what, cut := range map[string]func(t *testing.T, source, replica *lab.Server) (mend func()){
		"the receiver connects anew": loseSource, "the receiver is stopped": stopReceiver,
	} {
		t.Run(what, func(t *testing.T) {
			source, replica := pair(t)
			mend := halfReceived(t, source, replica, cut)
			s, err := mysql.Open(t.Context(), database.Endpoint{Socket: replica.Socket})
			must(t, err)
			facts, err := s.Facts(t.Context())
			must(t, err)
			step := s.StopReplication(facts, database.Applier)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			begun := time.Now()
			_, err = step.Act(ctx)
			t.Logf("after %v: %v", time.Since(begun), err)
			if !errors.Is(err, database.ErrBusy) || time.Since(begun) > 5*time.Second {
				t.Errorf("after %v, with a patience of 2 s: %v", time.Since(begun), err)
			}
			begun = time.Now()
			must(t, step.Undo(t.Context()))
			if t.Logf("taken back after %v", time.Since(begun)); time.Since(begun) > 2*time.Second {
				t.Error("it was told to stop")
			}
			applies(t, replica)
			mend()
			until(t, "the whole transaction", 90*time.Second, func() bool {
				n, _ := replica.Value(t.Context(), "SELECT COUNT(*) FROM big.t")
				return n == "10"
			})
		})
	}
}

// halfReceived cuts the receiver off in the middle of a transaction.
func halfReceived(t *testing.T, source, replica *lab.Server, cut func(t *testing.T, source, replica *lab.Server) func()) (mend func()) {
	t.Helper()
	must(t, source.Exec(t.Context(), "CREATE DATABASE big", "CREATE TABLE big.t (id INT AUTO_INCREMENT PRIMARY KEY, filling LONGBLOB)"))
	before := received(t, replica)
	insert := "INSERT INTO big.t (filling) VALUES (REPEAT('x', 4000000))"
	go func() {
		_ = source.Exec(context.Background(), slices.Concat([]string{"BEGIN"}, slices.Repeat([]string{insert}, 10), []string{"COMMIT"})...)
	}()
	until(t, "the first rows", 30*time.Second, func() bool { return received(t, replica) > before })
	return cut(t, source, replica)
}

// loseSource stops the source's process until the receiver has given it up and tries to connect anew.
func loseSource(t *testing.T, source, replica *lab.Server) (mend func()) {
	t.Helper()
	must(t, syscall.Kill(source.PID(), syscall.SIGSTOP))
	mend = func() { _ = syscall.Kill(source.PID(), syscall.SIGCONT) }
	t.Cleanup(mend)
	until(t, "the receiver to connect anew", 30*time.Second, func() bool {
		state, err := replica.Value(t.Context(), "SELECT PROCESSLIST_STATE FROM performance_schema.threads WHERE NAME = 'thread/sql/replica_io'")
		must(t, err)
		return strings.HasPrefix(state, "Reconnecting")
	})
	return mend
}

func stopReceiver(t *testing.T, _, replica *lab.Server) (mend func()) {
	t.Helper()
	must(t, replica.Exec(t.Context(), "STOP REPLICA IO_THREAD"))
	time.Sleep(200 * time.Millisecond) // the applier reads what there is
	return func() { must(t, replica.Exec(t.Context(), "START REPLICA IO_THREAD")) }
}

// TestStopThatWaits: a worker of the parallel applier waits for a lock of somebody else, and STOP REPLICA with it, for as long as that
// takes. The patience holds all the same, and what is put back, by us or by a later process, waits for the end of the STOP: before it the
// applier is shown as running.
func TestStopThatWaits(t *testing.T) {
	source, replica := pair(t)
	must(t, source.Exec(t.Context(), "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)"))
	until(t, "the table", 10*time.Second, func() bool { return replica.Exec(t.Context(), "DO (SELECT COUNT(*) FROM d.t)") == nil })
	s, err := mysql.Open(t.Context(), database.Endpoint{Socket: replica.Socket})
	must(t, err)
	facts, err := s.Facts(t.Context())
	must(t, err)
	for id, later := range []bool{false, true} {
		unlock := blocked(t, source, replica, id)
		step := s.StopReplication(facts, database.Applier)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		begun := time.Now()
		_, err = step.Act(ctx)
		cancel()
		if t.Logf("after %v: %v", time.Since(begun), err); !errors.Is(err, database.ErrBusy) || time.Since(begun) > 2*time.Second {
			t.Errorf("after %v, with a patience of 1 s: %v", time.Since(begun), err)
		}
		back := make(chan error, 1)
		go func() {
			if later {
				back <- family.Undoers(mysql.Dialect())[step.Deed.Kind](context.Background(), step.Deed)
			} else {
				back <- step.Undo(context.Background())
			}
		}()
		select {
		case err := <-back:
			t.Errorf("it was put back while the STOP was under way: %v", err)
			back <- err
		case <-time.After(2 * time.Second):
		}
		unlock()
		must(t, <-back)
		applies(t, replica)
		until(t, "the row", 10*time.Second, func() bool {
			n, _ := replica.Value(t.Context(), "SELECT COUNT(*) FROM d.t")
			return n == strconv.Itoa(id+1)
		})
	}
}

// blocked leaves a worker waiting for a lock, until the function that it returns is called, and for 20 s at most.
func blocked(t *testing.T, source, replica *lab.Server, id int) (unlock func()) {
	t.Helper()
	db, err := replica.DB()
	must(t, err)
	conn, err := db.Conn(t.Context())
	must(t, err)
	_, err = conn.ExecContext(t.Context(), "LOCK TABLES d.t READ")
	must(t, err)
	must(t, source.Exec(t.Context(), fmt.Sprintf("INSERT INTO d.t VALUES (%d)", id)))
	until(t, "the worker to wait", 10*time.Second, func() bool {
		n, _ := replica.Value(t.Context(), "SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE OBJECT_SCHEMA = 'd' AND LOCK_STATUS = 'PENDING'")
		return n == "1"
	})
	var once sync.Once
	unlock = func() { once.Do(func() { _, _ = conn.Close(), db.Close() }) } // the lock goes with its connection
	time.AfterFunc(20*time.Second, unlock)
	return unlock
}

func applies(t *testing.T, replica *lab.Server) {
	t.Helper()
	channels, err := replica.Replication(t.Context())
	must(t, err)
	if c := channels[0]; c.Applier != "Yes" || c.ApplierError != "" {
		t.Errorf("the applier: %s %s", c.Applier, c.ApplierError)
	}
}

// pair is a source and a replica with a parallel applier.
func pair(t *testing.T) (source, replica *lab.Server) {
	t.Helper()
	b, err := lab.Find("mysql-9.7")
	must(t, err)
	l := labtest.New(t)
	start := func(name string) *lab.Server {
		s, err := l.Server(t.Context(), b, lab.Spec{Name: name})
		must(t, err)
		must(t, s.Start(t.Context()))
		return s
	}
	source, replica = start("source"), start("replica")
	must(t, lab.Replicate(t.Context(), source, replica, lab.ReplicateOptions{GTID: true}))
	return source, replica
}

// received counts what the relay log was written to with large events.
func received(t *testing.T, replica *lab.Server) string {
	t.Helper()
	n, err := replica.Value(t.Context(), `SELECT LPAD(SUM(SUM_NUMBER_OF_BYTES_WRITE) DIV 4000000, 9, '0') FROM performance_schema.file_summary_by_event_name
		WHERE EVENT_NAME = 'wait/io/file/sql/relaylog'`)
	must(t, err)
	return n
}

func until(t *testing.T, what string, limit time.Duration, true func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
