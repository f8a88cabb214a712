package main

import (
	"context"
	"fmt"
	"time"
)

// busyFor is how long the statements and transactions of others last: longer than the patience of a hold, shorter than a run.
const busyFor = 2500 * time.Millisecond

// keepBusy runs statements on one connection of the server, in the background; the last of them waits for the end.
func (c *scene) keepBusy(statements ...string) error {
	server := c.subject
	ctx, cancel := context.WithTimeout(c.ctx, 60*time.Second)
	c.busy, c.busyEnd = cancel, make(chan struct{})
	begun := make(chan error, 1)
	go func() {
		defer close(c.busyEnd)
		db, err := server.DB()
		if err != nil {
			begun <- err
			return
		}
		defer db.Close()
		conn, err := db.Conn(ctx)
		if err != nil {
			begun <- err
			return
		}
		defer conn.Close()
		begun <- nil
		for _, statement := range statements {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return // the hold won, or the campaign is over
			}
		}
	}()
	err := <-begun
	time.Sleep(100 * time.Millisecond) // they are under way
	return err
}

func (c *scene) endBusy() error {
	<-c.busyEnd
	c.busy()
	return nil
}

func (c *scene) longSelect() error {
	return c.keepBusy(fmt.Sprintf("DO (SELECT SLEEP(%.1f) FROM big.rows LIMIT 1)", busyFor.Seconds()))
}

// nolog keeps what is done to a replica's data out of its own binary log.
const nolog = "SET SESSION sql_log_bin = 0"

func (c *scene) longAlter() error {
	return c.keepBusy(nolog, "ALTER TABLE big.rows FORCE, ALGORITHM=COPY", "ALTER TABLE big.rows FORCE, ALGORITHM=COPY", "ALTER TABLE big.rows FORCE, ALGORITHM=COPY")
}

func (c *scene) bigTransaction() error {
	return c.keepBusy(nolog, "BEGIN", "UPDATE big.rows SET filling = UUID()", "DELETE FROM big.rows WHERE id % 2 = 0", "ROLLBACK")
}

func (c *scene) idleTransaction() error {
	return c.keepBusy(nolog, "BEGIN", "UPDATE big.rows SET filling = 'held' WHERE id < 100", fmt.Sprintf("DO SLEEP(%.1f)", busyFor.Seconds()), "ROLLBACK")
}
