package demo

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// open gives connections to a node as root over its socket, which its option file names. A node without a server is an error.
func open(dir, name string) (*sql.DB, error) {
	socket, err := socketOf(filepath.Join(dir, name, "my.cnf"))
	if err != nil {
		return nil, err
	}
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	config.InterpolateParams = true
	config.Timeout = 2 * time.Second
	config.Logger = &mysql.NopLogger{} // a server that is stopped for a cold backup is no news
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func socketOf(optionFile string) (string, error) {
	f, err := os.Open(optionFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		key, value, _ := strings.Cut(scanner.Text(), "=")
		if strings.TrimSpace(key) == "socket" {
			return strings.TrimSpace(value), nil
		}
	}
	return "", errors.Join(scanner.Err(), fmt.Errorf("%s names no socket", optionFile))
}

// caughtUp waits until a replica has applied everything that node-a has in its binary log now.
func (d *demo) caughtUp(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	source, err := open(d.Dir, nodeA)
	if err != nil {
		return err
	}
	defer source.Close()
	replica, err := open(d.Dir, name)
	if err != nil {
		return err
	}
	defer replica.Close()
	file, position, err := binlogPosition(ctx, source)
	if err != nil {
		return err
	}
	for {
		var events sql.NullInt64 // NULL: the applier does not run (yet); -1: not within the second
		err := replica.QueryRowContext(ctx, "SELECT MASTER_POS_WAIT(?, ?, 1)", file, position).Scan(&events)
		if err == nil && events.Valid && events.Int64 >= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has not caught up with node-a: %w", name, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func binlogPosition(ctx context.Context, db *sql.DB) (file string, position int64, err error) {
	var doDB, ignoreDB string
	if err := db.QueryRowContext(ctx, "SHOW MASTER STATUS").Scan(&file, &position, &doDB, &ignoreDB); err != nil {
		return "", 0, fmt.Errorf("node-a does not tell its position: %w", err)
	}
	return file, position, nil
}

// compare pauses the writer, lets both replicas catch up, and compares every row.
func (d *demo) compare(ctx context.Context) error {
	d.title("The writer pauses: are the rows of all three the same?")
	d.writer.gate.Lock()
	defer d.writer.gate.Unlock()
	sums := map[string]string{}
	for _, name := range []string{nodeA, nodeB, nodeC} {
		if name != nodeA {
			if err := d.caughtUp(ctx, name); err != nil {
				return err
			}
		}
		var err error
		if sums[name], err = d.content(ctx, name); err != nil {
			return err
		}
		d.say("%s  %s", name, sums[name])
	}
	if sums[nodeA] != sums[nodeB] || sums[nodeA] != sums[nodeC] {
		return fmt.Errorf("the rows differ: node-a %s; node-b %s; node-c %s", sums[nodeA], sums[nodeB], sums[nodeC])
	}
	d.ok("all the same")
	return d.identities(ctx)
}

// identities shows that no two servers can be taken for each other.
func (d *demo) identities(ctx context.Context) error {
	seen := map[string]string{}
	text := []string{}
	for _, name := range []string{nodeA, nodeB, nodeC} {
		db, err := open(d.Dir, name)
		if err != nil {
			return err
		}
		defer db.Close()
		var id string
		if err := db.QueryRowContext(ctx, "SELECT @@server_id").Scan(&id); err != nil {
			return fmt.Errorf("on %s: %w", name, err)
		}
		if other := seen[id]; other != "" {
			return fmt.Errorf("%s and %s both have server_id %s", other, name, id)
		}
		seen[id] = name
		text = append(text, id)
	}
	d.ok("three server ids: %s", strings.Join(text, ", "))
	return nil
}
