package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// keepEvidence writes down what a run that exceeded its limit is at, and what its servers are: such a case is rare, and the world that
// showed it is gone in a minute. SIGQUIT makes the run print where each of its goroutines stands.
func (w *world) keepEvidence(r *running, limit time.Duration) {
	dir, err := w.keepServers()
	if err != nil {
		r.kept = err.Error()
		return
	}
	r.kept = dir
	fmt.Fprintf(os.Stderr, "faults: %s did not end within %s: see %s\n", filepath.Base(r.cmd.Path), limit, dir) // whatever becomes of the verdict
	r.signal(syscall.SIGQUIT)
	select {
	case <-r.ended:
	case <-time.After(5 * time.Second):
	}
	for _, name := range []string{"stdout", "stderr", "trace"} {
		_ = os.WriteFile(filepath.Join(dir, name), []byte(r.read(name)), 0o644)
	}
	_ = os.WriteFile(filepath.Join(dir, "command"), fmt.Appendf(nil, "%s\nHOLDSTILL_FAULT=%s\nstarted %s, given up after %s\n",
		strings.Join(r.cmd.Args, " "), r.fault, r.started.UTC().Format(time.RFC3339Nano), limit), 0o644)
}

// evidence is where keepServers wrote, or why it could not.
func (w *world) evidence() string {
	dir, err := w.keepServers()
	if err != nil {
		return err.Error()
	}
	return dir
}

// keepServers writes down what the servers are at, into a directory that outlives the campaign.
func (w *world) keepServers() (dir string, err error) {
	base := filepath.Join(filepath.Dir(w.lab.Dir()), "evidence")
	dir = filepath.Join(base, fmt.Sprintf("%s-%s", strings.ReplaceAll(w.place.String(), "/", "-"), time.Now().UTC().Format("150405.000")))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, s := range w.servers() {
		w.keepServer(s, dir)
	}
	return dir, nil
}

// asked are the questions to a server whose threads may wait for each other; one that a product does not know is answered by its error.
var asked = []string{"SHOW FULL PROCESSLIST", "SHOW REPLICA STATUS", "SHOW ALL SLAVES STATUS",
	"SELECT * FROM performance_schema.threads WHERE PROCESSLIST_ID IS NOT NULL",
	"SELECT * FROM performance_schema.replication_connection_status",
	"SELECT * FROM performance_schema.replication_applier_status_by_coordinator",
	"SELECT * FROM performance_schema.replication_applier_status_by_worker",
	"SELECT * FROM performance_schema.metadata_locks", "SELECT * FROM performance_schema.data_lock_waits",
	"SHOW GLOBAL VARIABLES LIKE '%read_only'", "SHOW ENGINE INNODB STATUS"}

func (w *world) keepServer(s *lab.Server, dir string) {
	file, err := os.Create(filepath.Join(dir, s.Name+".txt"))
	if err != nil {
		return
	}
	defer file.Close()
	for _, question := range asked {
		fmt.Fprintf(file, "\n== %s\n", question)
		if err := w.answer(s, question, file); err != nil {
			fmt.Fprintln(file, err)
		}
	}
	fmt.Fprintf(file, "\n== the kernel's view of its threads\n")
	for _, task := range tasks(s.PID()) {
		fmt.Fprintln(file, task)
	}
	log, _ := os.ReadFile(s.ErrorLog)
	_ = os.WriteFile(filepath.Join(dir, s.Name+".errors"), log, 0o644)
}

// answer prints a row a paragraph, without what is empty. A question may have to wait for what it asks about.
func (w *world) answer(s *lab.Server, question string, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	db, err := s.DB()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, question)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range into {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			if v.String != "" {
				fmt.Fprintf(out, "%s=%s; ", columns[i], v.String)
			}
		}
		fmt.Fprintln(out)
	}
	return rows.Err()
}

// tasks tells for each thread of a process where it waits in the kernel, if it does.
func tasks(pid int) []string {
	var out []string
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, d := range dirs {
		name, _ := os.ReadFile(filepath.Join(d, "comm"))
		where, _ := os.ReadFile(filepath.Join(d, "wchan"))
		out = append(out, fmt.Sprintf("%s %s %s", filepath.Base(d), strings.TrimSpace(string(name)), where))
	}
	return out
}
