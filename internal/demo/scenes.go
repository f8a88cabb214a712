package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func (d *demo) threeNodes(ctx context.Context) error {
	d.title("Three nodes, each with its own network and disk")
	began := time.Now()
	if err := d.build(ctx); err != nil {
		return fmt.Errorf("cannot make the nodes: %w", err)
	}
	for _, name := range []string{nodeA, nodeB, nodeC} {
		n := d.nodes[name]
		does := map[string]string{nodeA: "source", nodeB: "replica to be", nodeC: "no server yet"}[name]
		d.say("%s  %s:3306  %-14s %s", name, n.address, does, n.diskText)
	}
	version, err := d.nodes[nodeA].server.Value(ctx, "SELECT VERSION()")
	if err != nil {
		return err
	}
	d.ok("MariaDB %s answers on node-a and node-b after %s", version, seconds(time.Since(began)))
	return nil
}

func (d *demo) setUpReplication(ctx context.Context) error {
	d.title("Replication from node-a to node-b")
	password := rand.Text()
	a, b := d.nodes[nodeA], d.nodes[nodeB]
	if err := d.sql(ctx, a, "CREATE USER repl@'10.77.0.%' IDENTIFIED BY '"+password+"'", password); err != nil {
		return err
	}
	if err := d.sql(ctx, a, "GRANT REPLICATION SLAVE, REPLICATION MASTER ADMIN, BINLOG MONITOR ON *.* TO repl@'10.77.0.%'", ""); err != nil {
		return err
	}
	account := "[client]\nuser=repl\npassword=" + password + "\n"
	if err := os.WriteFile(d.accountFile(), []byte(account), 0o600); err != nil {
		return err
	}
	if _, err := d.run(ctx, nodeA, "mariadb -t -e 'SHOW MASTER STATUS'"); err != nil {
		return err
	}
	db, err := a.server.DB()
	if err != nil {
		return err
	}
	defer db.Close()
	var file, doDB, ignoreDB string
	var position int64
	if err := db.QueryRowContext(ctx, "SHOW MASTER STATUS").Scan(&file, &position, &doDB, &ignoreDB); err != nil {
		return fmt.Errorf("node-a does not tell its position: %w", err)
	}
	change := fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=3306, MASTER_USER='repl', MASTER_PASSWORD='%s', "+
		"MASTER_LOG_FILE='%s', MASTER_LOG_POS=%d, MASTER_USE_GTID=no, MASTER_CONNECT_RETRY=1", a.address, password, file, position)
	if err := d.sql(ctx, b, change, password); err != nil {
		return err
	}
	if err := d.sql(ctx, b, "START REPLICA", ""); err != nil {
		return err
	}
	if err := d.caughtUp(ctx, nodeB); err != nil {
		return err
	}
	return d.showReplication(ctx, nodeB)
}

func (d *demo) showReplication(ctx context.Context, name string) error {
	_, err := d.run(ctx, name, `mariadb -e 'SHOW REPLICA STATUS\G' | grep -E '_(Host|Running|Behind_Master):'`)
	return err
}

func (d *demo) startWriting(ctx context.Context) error {
	d.title("A writer that does not pause, and a watcher")
	d.say("The writer commits random words of %s, one row at a time, until the end.", dictionary)
	if err := d.sql(ctx, d.nodes[nodeA], "CREATE DATABASE sampledb", ""); err != nil {
		return err
	}
	if err := d.sql(ctx, d.nodes[nodeA], createTable, ""); err != nil {
		return err
	}
	if err := d.startWriter(ctx); err != nil {
		return err
	}
	if err := d.firstRows(ctx); err != nil {
		return err
	}
	return watch(ctx, d.Dir, d.story, watchOptions{indent: "   ", every: 500 * time.Millisecond, times: 4})
}

func (d *demo) configure(ctx context.Context) error {
	d.title("Holdstill's configuration")
	if err := os.WriteFile(d.configFile(), []byte(d.configuration()), 0o600); err != nil {
		return err
	}
	d.say("The instances and their services. On the nodes, holdstill is called with --config for this file.")
	_, err := d.run(ctx, nodeA, "cat "+d.configFile())
	return err
}

func (d *demo) configFile() string  { return filepath.Join(d.Dir, "holdstill.yaml") }
func (d *demo) accountFile() string { return filepath.Join(d.Dir, "replication.cnf") }

func (d *demo) configuration() string {
	text := "instances:\n"
	for _, name := range []string{nodeA, nodeB} {
		n := d.nodes[name]
		for _, line := range []string{
			"  " + name + ":",
			"    option_file: " + n.server.OptionFile,
			"    service:",
			"      start: " + n.server.StartCommand(),
			"      stop: " + n.server.StopCommand(),
			"    replication: # for new replicas of this server",
			"      address: " + n.address + ":3306",
			"      client_option_file: " + d.accountFile(),
		} {
			text += line + "\n"
		}
	}
	return text
}

func (d *demo) coldPoint(ctx context.Context) error {
	d.title("A restore point of node-b, cold: replication and service stopped, cut, started, put back")
	if err := d.takePoint(ctx, nodeB, "cold"); err != nil {
		return err
	}
	if err := d.caughtUp(ctx, nodeB); err != nil {
		return fmt.Errorf("node-b does not replicate after its backup: %w", err)
	}
	d.ok("node-b runs, replicates and has caught up again")
	return nil
}

func (d *demo) hotPoint(ctx context.Context) error {
	d.title("A restore point of node-a, hot: the writer goes on")
	d.writer.mark()
	if err := d.takePoint(ctx, nodeA, "hot"); err != nil {
		return err
	}
	seen := d.writer.sinceMark()
	point := d.done[len(d.done)-1].point
	d.ok("commits could stall for %s; the writer's slowest of %d commits in that time took %s",
		milliseconds(point.Window.StallMS), seen.commits, milliseconds(float64(seen.worst.Microseconds())/1000))
	return nil
}

func (d *demo) deployReplica(ctx context.Context) error {
	d.title("node-c becomes a replica, from node-b's restore point")
	c := d.nodes[nodeC]
	took, err := d.run(ctx, nodeC, fmt.Sprintf("holdstill replica %s --datadir %s --config-dir %s --server-id auto --bind-address %s --port 3306 --catch-up 60s",
		d.done[0].point.ID, c.datadir(), filepath.Join(d.Dir, nodeC), c.address))
	if err != nil {
		return err
	}
	d.done = append(d.done, act{what: "The new replica on " + nodeC + ", which has caught up,", took: took})
	if err := d.showReplication(ctx, nodeC); err != nil {
		return err
	}
	return watch(ctx, d.Dir, d.story, watchOptions{indent: "   ", every: 500 * time.Millisecond, times: 3})
}
