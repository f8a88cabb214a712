package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// scene is one fault on its way: the run that it hits, and what has to be taken back of what the actor did.
type scene struct {
	*world
	injection
	run    *running
	random *rand.Rand

	killedAt time.Time // when the main process was, by us
	crowd    []*sql.DB
	leaving  int // the server's process that was told to end
	busy     context.CancelFunc
	busyEnd  chan struct{}
	tookBack bool     // the actor has taken back what it did
	claims   []string // wrong ones that the actor itself saw
}

func send(s syscall.Signal) func(*scene) error {
	return func(c *scene) error {
		c.run.signal(s)
		time.Sleep(20 * time.Millisecond) // it is noticed before the gate opens
		return nil
	}
}

func (c *scene) kill() {
	c.run.signal(syscall.SIGKILL)
	<-c.run.ended
	c.killedAt = time.Now()
}

// hang keeps the program at the boundary until long after its deadline, and kills it then: nobody but the guard, the watchdog and the
// server itself can have let go.
func (c *scene) hang() error {
	time.Sleep(c.letGoLimit())
	if c.mode != "cold" && !c.probe.flows(200*time.Millisecond) {
		c.claims = append(c.claims, "a hanging run keeps the volume frozen beyond its deadline")
	}
	c.kill()
	return nil
}

// letGoLimit is from when on nothing of a run that does not move may stall the server.
func (c *scene) letGoLimit() time.Duration { return maxStall + 1500*time.Millisecond }

// dawdle makes a step slow, inside the budget: nothing may come of that.
func (c *scene) dawdle() error {
	time.Sleep(maxStall / 2)
	return nil
}

func (c *scene) stop() error {
	c.run.signal(syscall.SIGSTOP)
	time.Sleep(c.letGoLimit())
	c.run.signal(syscall.SIGCONT)
	return nil
}

func (c *scene) killGuard() error {
	if pid := c.run.guard(); pid != 0 {
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

func (c *scene) killBoth() error {
	pid := c.run.guard()
	c.kill()
	if pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended with its parent
	}
	// With both gone nobody thaws before the next recover: that is what it is for.
	return nil
}

// killAndRecover kills the run, and then a recover in the middle of its work.
func (c *scene) killAndRecover() error {
	c.kill()
	c.killedAt = time.Time{} // recover takes its time; the actor kill has the bound
	boundaries := []string{"hold.undo", "hold.undone", "freeze.undo", "cut.undo", "cut.undone", "service.undo", "service.undone",
		"readonly.undo", "readonly.undone", "replication.undo", "replication.undone", "ledger.append"}
	r, err := c.start(boundaries[c.random.IntN(len(boundaries))]+":kill", "recover")
	if err == nil {
		r.wait(2 * time.Minute)
	}
	return err
}

// tearLedger kills the run when its last promise is written and not yet acted upon, and tears that line.
func (c *scene) tearLedger() error {
	c.kill()
	ledgers, _ := filepath.Glob(filepath.Join(c.state, "runs", "*.ledger"))
	if len(ledgers) != 1 {
		return fmt.Errorf("there are %d ledgers", len(ledgers))
	}
	content, err := os.ReadFile(ledgers[0])
	if err != nil {
		return err
	}
	last := len(content) - 1
	for last > 0 && content[last-1] != '\n' {
		last--
	}
	return os.Truncate(ledgers[0], int64(last+c.random.IntN(len(content)-last)))
}

func (c *scene) secondBackup() error {
	r, err := c.holdstill(time.Minute, "backup")
	if err == nil && r.code != 5 {
		c.claims = append(c.claims, fmt.Sprintf("a second backup beside the first ended with %d, not 5: %s", r.code, r.said()))
	}
	return err
}

func (c *scene) killConnections() error {
	db, err := c.subject.DB()
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(c.ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'keeper'")
	if err != nil {
		return err
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		_, _ = db.ExecContext(c.ctx, fmt.Sprintf("KILL %d", id)) // it may have ended
	}
	return rows.Close()
}

func (c *scene) killServer() error { return c.subject.Kill() }

func (c *scene) startServer() error { return c.subject.Start(c.ctx) }

// startShutDown starts the server again once it is down.
func (c *scene) startShutDown() error {
	pid := c.subject.PID()
	if c.leaving == pid {
		c.awaitDeath(pid, time.Minute)
	}
	return c.subject.Start(c.ctx)
}

// shutDownServer does not wait for its end: a hold may keep the shutdown waiting, and it is our turn to let go.
func (c *scene) shutDownServer() error {
	pid := c.subject.PID()
	c.leaving = pid
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	_ = c.subject.Exec(ctx, "SHUTDOWN") // the answer may be the end of the connection
	c.awaitDeath(pid, 5*time.Second)
	return nil
}

func (c *scene) awaitDeath(pid int, limit time.Duration) {
	_ = within(limit, func() error {
		if c.subject.PID() == pid && pid != 0 {
			return errors.New("it lives")
		}
		return nil
	})
}

func (c *scene) restartServer() error {
	return errors.Join(c.subject.Kill(), c.subject.Start(c.ctx))
}

// fillConnections takes every connection that there is, the one for administrators too.
func (c *scene) fillConnections() error {
	for range 60 {
		db, err := c.subject.DB()
		if err != nil {
			return err
		}
		c.crowd = append(c.crowd, db)
		if _, err := db.ExecContext(c.ctx, "DO 1"); err != nil {
			return nil
		}
	}
	return errors.New("the server took 60 connections")
}

func (c *scene) freeConnections() error {
	for _, db := range c.crowd {
		_ = db.Close()
	}
	return nil
}

func (c *scene) changePassword() error     { return c.setPassword("changed-meanwhile-2") }
func (c *scene) changePasswordBack() error { return c.setPassword(c.secret) }

func (c *scene) setPassword(to string) error {
	return c.subject.Exec(c.ctx, "SET SESSION sql_log_bin = 0", "ALTER USER 'keeper'@'localhost' IDENTIFIED BY '"+to+"'", "SET SESSION sql_log_bin = 1")
}

func (c *scene) fillState() error { return fill(c.disk.Dir) }
func (c *scene) freeState() error { return unfill(c.disk.Dir) }

// fillVolume leaves the server without space for as long as the run tries, or for five seconds where the run waits for the server.
func (c *scene) fillVolume() error {
	if err := fill(c.volume.Dir); err != nil {
		return err
	}
	c.run.open()
	select {
	case <-c.run.ended:
	case <-time.After(5 * time.Second):
	}
	return unfill(c.volume.Dir)
}

// awaitSpace waits until the server takes the writers' rows again: it looks for space once a minute. One that gave up, then or later,
// is started again, as its service manager would.
func (c *scene) awaitSpace() error {
	first := ""
	return within(2*time.Minute, func() error {
		if !c.subject.Running() {
			if err := c.subject.Start(c.ctx); err != nil {
				return err
			}
		}
		now, err := c.subject.Value(c.ctx, "SELECT MAX(id) FROM sampledb.sampletable")
		if first == "" {
			first = now
		}
		if err == nil && now == first {
			err = errors.New("no rows arrive, though the disk has space again")
		}
		return errors.Join(err, c.asBefore(c.normal))
	})
}

// fill leaves no block free, in chunks that get smaller.
func fill(dir string) error {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	defer f.Close()
	var size int64
	for _, chunk := range []int64{64 << 20, 1 << 20, 4 << 10} {
		for {
			if err := unix.Fallocate(int(f.Fd()), 0, size, chunk); err != nil {
				break
			}
			size += chunk
		}
	}
	return nil
}

// unfill syncs: else a file system that breaks in the next moment is full again.
func unfill(dir string) error {
	return errors.Join(os.Remove(filepath.Join(dir, "filler")), tool("sync", "-f", dir))
}
