package demo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/holdstill/holdstill/internal/lab"
)

const (
	lostTable = "sampledb.sampletable"
	findDrop  = "binlog find " + nodeA + " --table " + lostTable + " --kind drop"
)

// mistake lets somebody drop the table, and brings it back as it was just before.
func (d *demo) mistake(ctx context.Context) error {
	d.title("Somebody drops the table: when was that, and how was it just before?")
	d.writer.gate.Lock() // until the table is back
	defer d.writer.gate.Unlock()
	before, err := d.content(ctx, nodeA)
	if err != nil {
		return err
	}
	if err := d.sql(ctx, d.nodes[nodeA], "DROP TABLE "+lostTable, ""); err != nil {
		return err
	}
	for _, command := range []string{"holdstill binlog archive " + nodeA + " --once", "holdstill " + findDrop} {
		if _, err := d.run(ctx, nodeA, command); err != nil {
			return err
		}
	}
	gtid, err := d.dropped(ctx)
	if err != nil {
		return err
	}
	if err := d.backUntil(ctx, gtid); err != nil {
		return err
	}
	for _, name := range []string{nodeA, nodeB, nodeC} {
		if name != nodeA {
			if err := d.caughtUp(ctx, name); err != nil {
				return err
			}
		}
		now, err := d.content(ctx, name)
		if err != nil {
			return err
		}
		if now != before {
			return fmt.Errorf("the table on %s is not what it was: %s, before it was dropped %s", name, now, before)
		}
	}
	d.ok("the table is back on all three, up to the transaction before: %s", before)
	return nil
}

// dropped asks for the GTID of the transaction that dropped the table.
func (d *demo) dropped(ctx context.Context) (string, error) {
	out, err := d.ask(ctx, nodeA, "holdstill --json "+findDrop)
	if err != nil {
		return "", err
	}
	var found []struct{ GTID string }
	if err := json.Unmarshal(out, &found); err != nil {
		return "", fmt.Errorf("holdstill --json %s: %w", findDrop, err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the table was dropped once, and holdstill %s finds %d transactions", findDrop, len(found))
	}
	return found[0].GTID, nil
}

// backUntil looks at the table as it was just before, and brings it back into the running server, and with it to the replicas.
func (d *demo) backUntil(ctx context.Context, gtid string) error {
	moment := fmt.Sprintf("latest --instance %s --until-gtid %s --before", nodeA, gtid)
	for _, step := range []struct{ what, command string }{
		{"A question to the moment just before the table was dropped", "holdstill query " + moment + ` "SELECT COUNT(*) FROM ` + lostTable + `"`},
		{"The table of that moment, back in the running server", "holdstill restore " + moment + " --table " + lostTable + " --into " + nodeA},
	} {
		took, err := d.run(ctx, nodeA, step.command)
		if err != nil {
			return err
		}
		d.done = append(d.done, act{what: step.what, took: took})
	}
	return nil
}

// content tells what a node's table holds.
func (d *demo) content(ctx context.Context, name string) (string, error) {
	db, err := open(d.Dir, name)
	if err != nil {
		return "", err
	}
	defer db.Close()
	rows, sum, err := lab.Checksum(ctx, db, lostTable)
	if err != nil {
		return "", fmt.Errorf("on %s: %w", name, err)
	}
	return fmt.Sprintf("%d rows, checksum %s", rows, sum), nil
}
