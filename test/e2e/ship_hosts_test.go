package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/lab/store"
	"github.com/holdstill/holdstill/internal/replica"
)

// TestShipHosts has two machines with an instance of the same name ship to one store at once, and a third, which has never seen either,
// make a replica of one of them from there.
func TestShipHosts(t *testing.T) {
	build := must(lab.Find("mariadb-10.11"))(t)
	l := labtest.New(t)
	n := must(l.Network(t.Context(), "net", map[string]string{"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3"}))(t)
	e := store.S3(t, t.TempDir())
	section, _ := section(t, e)
	section = "repository:\n  password_file: " + secretFile(t, repositoryPassword) + "\n" + section
	hosts, shops := map[string]*machine{}, map[string]*shop{}
	for _, name := range []string{"a", "b"} {
		s := openIn(t, l, build, onBtrfs, name, lab.Spec{Netns: n.Netns(name), Bind: n.Address(name)})
		check(t, os.WriteFile(s.config, append(must(os.ReadFile(s.config))(t), section...), 0o600))
		check(t, s.server.Exec(t.Context(), "CREATE DATABASE own", "CREATE TABLE own.t (host VARCHAR(20))", "INSERT INTO own.t VALUES ('"+name+"')"))
		shops[name], hosts[name] = s, &machine{t: t, name: name, state: s.state, run: s.run, config: s.config}
	}
	hosts["a"].holdstill("repository", "init").want(t, 0)
	hosts["b"].holdstill("repository", "connect").want(t, 0)
	b := shops["b"]
	check(t, b.server.Exec(t.Context(), "CREATE USER repl IDENTIFIED BY 'replpw'", "GRANT REPLICATION SLAVE ON *.* TO repl"))
	writer := must(b.server.Write(t.Context(), lab.WriterOptions{Workers: 1, Pause: 20 * time.Millisecond}))(t)
	defer writer.Stop()

	points := atOnce(t, hosts)
	c := newMachine(t, "c")
	c.configure(section)
	relay(t, n.Netns("c"), e.Addr)
	on := func(args ...string) outcome { return c.within(n, args...) }
	on("repository", "connect").want(t, 0)
	listed(t, on("points", "list", "--json").want(t, 0), points)
	for host, p := range points {
		if shown := on("--json", "points", "show", p.ID).want(t, 0).point(t); shown.Host != host || len(shown.Snapshot.Refs) > 0 || shown.Repository == nil {
			t.Errorf("%s as c sees it: host %s, %+v, %+v", p.ID, shown.Host, shown.Snapshot, shown.Repository)
		}
		on("restore", p.ID, "--from", "local", "--datadir", filepath.Join(l.Dir(), "nothing")).want(t, 4)
	}
	followed(t, l, n, b, on, points["b"])

	hosts["b"].holdstill("points", "rm", points["b"].ID).want(t, 0)
	delete(points, "b")
	listed(t, on("points", "list", "--json").want(t, 0), points)
}

// atOnce backs up on all hosts at the same time.
func atOnce(t *testing.T, hosts map[string]*machine) map[string]*catalog.Point {
	t.Helper()
	outcomes := map[string]chan outcome{}
	for name, m := range hosts {
		outcomes[name] = make(chan outcome, 1)
		cmd := m.command(t.Context(), "--json", "backup")
		go func() {
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run()
			outcomes[name] <- outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
		}()
	}
	points := map[string]*catalog.Point{}
	for name := range hosts {
		points[name] = (<-outcomes[name]).want(t, 0).point(t)
		if p := points[name]; p.Repository == nil || p.Host != name {
			t.Errorf("the point of %s: host %s, %+v", name, p.Host, p.Repository)
		}
	}
	return points
}

// listed wants exactly these points, of these hosts.
func listed(t *testing.T, o outcome, want map[string]*catalog.Point) {
	t.Helper()
	var got []catalog.Point
	check(t, json.Unmarshal([]byte(o.stdout), &got))
	if len(got) != len(want) {
		t.Errorf("%d points are listed, not %d", len(got), len(want))
	}
	for _, p := range got {
		if w := want[p.Host]; w == nil || w.ID != p.ID || p.Instance != "shop" {
			t.Errorf("listed: %s of %s on %s", p.ID, p.Instance, p.Host)
		}
	}
}

// followed makes a replica of b's point on c, while b is written to.
func followed(t *testing.T, l *lab.Lab, n *lab.Network, source *shop, on func(...string) outcome, p *catalog.Point) {
	t.Helper()
	account := secretFile(t, "[client]\nuser=repl\npassword=replpw\n")
	o := on("--json", "replica", p.ID, "--datadir", filepath.Join(l.Dir(), "c-data"), "--source", n.Address("b")+":3306",
		"--source-client-option-file", account, "--bind-address", n.Address("c"), "--catch-up", "2m").want(t, 0)
	r := &replica.Result{}
	check(t, json.Unmarshal([]byte(o.stdout), r))
	check(t, l.Adopt(r.PID))
	if r.How != "fetch" {
		t.Errorf("c got the files by %s", r.How)
	}
	check(t, source.server.Exec(t.Context(), "INSERT INTO own.t VALUES ('later')"))
	db := root(t, r.Socket)
	defer db.Close()
	rows := 0
	for deadline := time.Now().Add(30 * time.Second); rows != 2 && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		check(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM own.t WHERE host IN ('b', 'later')").Scan(&rows))
	}
	if rows != 2 {
		t.Errorf("what is written to b after the point does not reach c: %d rows", rows)
	}
}

// within runs the program on a host of the network.
func (m *machine) within(n *lab.Network, args ...string) outcome {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 4*time.Minute)
	defer cancel()
	plain := m.command(ctx, args...)
	words := n.Command(m.name, plain.Args...)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = plain.Env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Only the main goroutine may run on the main thread: a lab's reaper sees by it in which network a process is, and kills those that are
// in the lab's. If relay got that thread, the reaper would kill this whole test.
func init() { runtime.LockOSThread() }

// relay lets processes in a network namespace reach an address of this one, under the same address.
func relay(t *testing.T, netns, addr string) {
	t.Helper()
	made := make(chan error, 1)
	var l net.Listener
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := os.Open("/run/netns/" + netns)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			l, err = net.Listen("tcp", addr)
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatal(fmt.Errorf("cannot listen in %s: %w", netns, err))
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go pass(c, addr)
		}
	}()
}

func pass(c net.Conn, addr string) {
	defer c.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, c); _ = to.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(c, to)
}
