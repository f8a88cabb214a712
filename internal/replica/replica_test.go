package replica_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/replica"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/restore/restoretest"
	"github.com/holdstill/holdstill/internal/snapshot/btrfs"
	"github.com/holdstill/holdstill/internal/wire"
)

const table = "sampledb.sampletable"

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

// pair is a source with a replica and a writer.
type pair struct {
	restoretest.Kit
	l              *lab.Lab
	vol            *lab.Volume
	source, follow *lab.Server
	writer         *lab.Writer
}

func newPair(t *testing.T, b lab.Build, gtid bool, options ...string) *pair {
	t.Helper()
	restoretest.Env(t, b)
	l := labtest.New(t)
	vol, err := l.Btrfs(t.Context(), "vol", 8<<30)
	must(t, err)
	must(t, os.Chmod(vol.Dir, 0o755))
	registry := restore.Undoers()
	maps.Copy(registry, replica.Undoers())
	p := &pair{l: l, vol: vol, Kit: restoretest.Kit{Provider: btrfs.New(), Connect: wire.Connect, Registry: registry, Ledgers: filepath.Join(l.Dir(), "runs")}}
	if !gtid && b.Product == lab.MySQL {
		options = append(options, "gtid-mode=OFF", "enforce-gtid-consistency=OFF")
	}
	make := func(name string) *lab.Server {
		s, err := l.Server(t.Context(), b, lab.Spec{Name: name, Datadir: filepath.Join(vol.Dir, name), Subvolume: true, Options: options})
		must(t, err)
		must(t, s.Start(t.Context()))
		return s
	}
	p.source, p.follow = make("a"), make("b")
	must(t, lab.Replicate(t.Context(), p.source, p.follow, lab.ReplicateOptions{GTID: gtid}))
	p.writer, err = p.source.Write(t.Context(), lab.WriterOptions{Pause: 100 * time.Millisecond}) // appliers have one thread, and a busy disk
	must(t, err)
	t.Cleanup(func() { p.writer.Stop() })
	time.Sleep(500 * time.Millisecond)
	return p
}

func (p *pair) request(point *catalog.Point, name string) replica.Request {
	return replica.Request{
		Request: restore.Request{Point: point, Datadir: filepath.Join(p.vol.Dir, name), Account: database.Endpoint{User: "root"}},
		Claims:  filepath.Join(p.l.Dir(), "claims"), CatchUp: time.Minute,
	}
}

func (p *pair) make(t *testing.T, r replica.Request) (*replica.Result, error) {
	t.Helper()
	run := p.Run(t, "b")
	out, err := replica.Make(t.Context(), run, r, restore.Deps{Open: p.Open})
	var late *replica.NotCaughtUp
	if err != nil && !errors.As(err, &late) {
		must(t, run.Unwind(context.Background()))
	}
	must(t, run.End())
	return out, err
}

// equal stops the writer and waits until the new replica has the source's rows.
func (p *pair) equal(t *testing.T, db *sql.DB) {
	t.Helper()
	p.writer.Stop()
	source, err := p.source.DB()
	must(t, err)
	defer func() { _ = source.Close() }()
	rows, sum, err := lab.Checksum(t.Context(), source, table)
	must(t, err)
	var n int64
	var got string
	for range 1200 {
		if n, got, err = lab.Checksum(t.Context(), db, table); err == nil && got == sum {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("the source has %d rows (%s), the new replica %d (%s, %v)", rows, sum, n, got, err)
}

// follows checks that a server's threads run.
func follows(t *testing.T, s *lab.Server) {
	t.Helper()
	db, err := s.DB()
	must(t, err)
	defer func() { _ = db.Close() }()
	product := restore.Program{Product: s.Build.Product, Version: fmt.Sprintf("%d.%d.99", s.Build.Major, s.Build.Minor)}
	status, err := restore.ReplicaStatus(t.Context(), db, product)
	must(t, err)
	row := status[""]
	if row.First("Replica_IO_Running", "Slave_IO_Running") != "Yes" || row.First("Replica_SQL_Running", "Slave_SQL_Running") != "Yes" {
		t.Errorf("%s does not replicate any more: %v", s.Name, row)
	}
}

// A point of a replica, by GTID and by file and position, with relay logs forgotten and kept, while the source is written to.
func TestReplicaFromAReplica(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		for _, gtid := range []bool{true, false} {
			t.Run(fmt.Sprintf("gtid %v", gtid), func(t *testing.T) {
				p := newPair(t, b, gtid)
				point := p.Point(t, p.follow, nil)
				if len(point.Sources) != 1 || point.Sources[0].AutoPosition != gtid {
					t.Fatalf("the point's sources: %+v", point.Sources)
				}
				time.Sleep(200 * time.Millisecond)
				ids := map[uint32]bool{}
				uuids := map[string]bool{point.Server.ServerUUID: true}
				var last *replica.Result
				for _, form := range []string{replica.Reset, replica.Keep} {
					r := p.request(point, "new-"+form)
					r.RelayLogs = form
					begun := time.Now()
					out, err := p.make(t, r)
					if err != nil && out != nil {
						t.Logf("%s: %q", form, out.Verified)
					}
					must(t, err)
					t.Logf("%s in %s: %s; warnings %q", form, time.Since(begun).Round(time.Millisecond), strings.Join(out.Verified, "; "), out.Warnings)
					if ids[out.ServerID] || out.ServerID == point.Server.ServerID || out.ServerID == 0 || !out.CaughtUp {
						t.Errorf("result: %+v", out)
					}
					if out.ServerUUID != "" && uuids[out.ServerUUID] {
						t.Errorf("its server_uuid is not its own: %+v", out)
					}
					ids[out.ServerID], uuids[out.ServerUUID] = true, true
					if open := restoretest.OpenBelow(t, out.PID, p.follow.Datadir); len(open) > 0 {
						t.Errorf("the new replica has files of the original open: %q", open)
					}
					last = out
				}
				p.equal(t, restoretest.DB(t, last.Socket))
				follows(t, p.follow)
				restarted(t, p, last)
			})
		}
	})
}

// restarted stops the replica and starts it with the option file alone: it must come back as what it is, and replicating.
func restarted(t *testing.T, p *pair, r *replica.Result) {
	t.Helper()
	process, err := os.FindProcess(r.PID)
	must(t, err)
	must(t, process.Signal(syscall.SIGTERM))
	for range 600 {
		if !restore.Lives(r.PID) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	again := exec.Command(p.follow.Build.Server, "--defaults-file="+r.OptionFile)
	again.Env = append(os.Environ(), p.follow.Build.Env...)
	must(t, again.Start())
	t.Cleanup(func() { _ = again.Process.Kill(); _ = again.Wait() })
	db := restoretest.DB(t, r.Socket)
	program := restore.Program{Product: p.follow.Build.Product, Version: fmt.Sprintf("%d.%d.99", p.follow.Build.Major, p.follow.Build.Minor)}
	var row restore.Row
	for range 600 {
		status, err := restore.ReplicaStatus(t.Context(), db, program)
		if row = status[""]; err == nil && row.First("Replica_IO_Running", "Slave_IO_Running") == "Yes" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if row.First("Replica_IO_Running", "Slave_IO_Running") != "Yes" || row.First("Replica_SQL_Running", "Slave_SQL_Running") != "Yes" {
		t.Errorf("after a restart it does not replicate: %v", row)
	}
	id, err := restore.Value(t.Context(), db, "SELECT @@server_id")
	must(t, err)
	if id != fmt.Sprint(r.ServerID) {
		t.Errorf("after a restart it has the server_id %s, not %d", id, r.ServerID)
	}
}

// A point of a source: the replica follows the instance itself.
func TestReplicaFromTheSource(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		for _, gtid := range []bool{true, false} {
			t.Run(fmt.Sprintf("gtid %v", gtid), func(t *testing.T) {
				p := newPair(t, b, gtid)
				point := p.Point(t, p.source, nil)
				if len(point.Sources) != 0 {
					t.Fatalf("the point's sources: %+v", point.Sources)
				}
				if !gtid {
					point.Position.GTID = "" // MariaDB always has one
				}
				r := p.request(point, "new")
				if _, err := p.make(t, r); err == nil || !strings.Contains(err.Error(), "account") {
					t.Errorf("without an account: %v", err)
				}
				r.SourceClientOptionFile = p.accountFile(t, "repl", "replpw")
				out, err := p.make(t, r)
				must(t, err)
				t.Logf("%s; warnings %q", strings.Join(out.Verified, "; "), out.Warnings)
				p.equal(t, restoretest.DB(t, out.Socket))
				follows(t, p.follow)
			})
		}
	})
}

func (p *pair) accountFile(t *testing.T, user, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.cnf")
	must(t, os.WriteFile(path, []byte("[client]\nuser="+user+"\npassword="+password+"\n"), 0o600))
	return path
}

// No identity twice: taken ids are refused, and of two runs at one time that want the same one gets it.
func TestIdentity(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		p := newPair(t, b, true)
		point := p.Point(t, p.follow, nil)
		for name, id := range map[string]int{"the original's": p.follow.ServerID, "the source's": p.source.ServerID} {
			r := p.request(point, "refused")
			r.ServerID = fmt.Sprint(id)
			_, err := p.make(t, r)
			if err == nil || !strings.Contains(err.Error(), "is taken") {
				t.Errorf("%s id: %v", name, err)
			}
			if _, err := os.Stat(r.Datadir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s id: something was touched", name)
			}
		}
		var wait sync.WaitGroup
		errs := make([]error, 2)
		outs := make([]*replica.Result, 2)
		for i := range 2 {
			r := p.request(point, fmt.Sprintf("same-%d", i))
			r.ServerID, r.Port = "4242", 25000+os.Getpid()%5000+i
			wait.Go(func() { outs[i], errs[i] = p.make(t, r) })
		}
		wait.Wait()
		won := 0
		for i := range 2 {
			if errs[i] == nil {
				won++
			} else if !strings.Contains(errs[i].Error(), "4242 is taken") {
				t.Errorf("the second lost for another reason: %v", errs[i])
			}
		}
		if won != 1 {
			t.Fatalf("%d replicas with one id: %v", won, errs)
		}
		r := p.request(point, "third")
		r.ServerID = "4242"
		if _, err := p.make(t, r); err == nil || !strings.Contains(err.Error(), "is taken") {
			t.Errorf("an id that is given away: %v", err)
		}
		follows(t, p.follow)
	})
}

// A replica that cannot catch up is left running, and the error says what its threads say.
func TestNotCaughtUp(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		p := newPair(t, b, true)
		point := p.Point(t, p.follow, nil)
		// a statement that the source could execute and the replica cannot
		must(t, p.source.Exec(t.Context(), "SET SESSION sql_log_bin = 0", "CREATE TABLE sampledb.clash (id INT PRIMARY KEY)",
			"SET SESSION sql_log_bin = 1", "INSERT INTO sampledb.clash VALUES (1)"))
		r := p.request(point, "late")
		out, err := p.make(t, r)
		var late *replica.NotCaughtUp
		if !errors.As(err, &late) {
			t.Fatalf("error %v", err)
		}
		if !strings.Contains(late.Why, "clash") || !strings.Contains(err.Error(), "left running") {
			t.Errorf("it does not say why: %v", err)
		}
		if err := restoretest.DB(t, out.Socket).PingContext(t.Context()); err != nil {
			t.Errorf("it is not left running: %v", err)
		}
	})
}
