package archive

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// builds are those whose logs differ: MariaDB 11.8 leaves out positions inside of transactions.
var builds = []string{"mariadb-10.11", "mysql-9.7", "mariadb-11.8"}

func eachBuild(t *testing.T, test func(t *testing.T, build lab.Build)) {
	t.Helper()
	for _, name := range builds {
		t.Run(name, func(t *testing.T) {
			build, err := lab.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, build)
		})
	}
}

// scene is a running server, and an archive of it.
type scene struct {
	*lab.Server
	t   testing.TB
	lab *lab.Lab
	dir string
}

func newScene(t testing.TB, build lab.Build, options ...string) *scene {
	t.Helper()
	l := labtest.New(t)
	s := serverOf(t, l, build, "src", options...)
	return &scene{Server: s, t: t, lab: l, dir: filepath.Join(t.TempDir(), "archive")}
}

func serverOf(t testing.TB, l *lab.Lab, build lab.Build, name string, options ...string) *lab.Server {
	t.Helper()
	s, err := l.Server(t.Context(), build, lab.Spec{Name: name, Options: options})
	if err == nil {
		err = s.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sql runs statements.
func (s *scene) sql(statements ...string) {
	s.t.Helper()
	if err := s.Exec(s.t.Context(), statements...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) reset() string {
	if s.Build.NewStatements() {
		return "RESET BINARY LOGS AND GTIDS"
	}
	return "RESET MASTER"
}

// root is the way in over the socket, without a password.
func root(s *lab.Server) Source { return Source{Socket: s.Socket, User: "root"} }

// account makes one with the least privileges, and gives the way in over TCP.
func account(t *testing.T, s *lab.Server) Source {
	t.Helper()
	monitor := "REPLICATION CLIENT"
	if s.Build.Product == lab.MariaDB {
		monitor = "BINLOG MONITOR"
	}
	if err := s.Exec(t.Context(), "CREATE USER archiver@'%' IDENTIFIED BY 'a secret'", "GRANT REPLICATION SLAVE, "+monitor+" ON *.* TO archiver@'%'"); err != nil {
		t.Fatal(err)
	}
	return Source{Host: s.Bind, Port: s.Port, User: "archiver", Password: "a secret"}
}

func (s *scene) options(sources ...Source) Options {
	if len(sources) == 0 {
		sources = []Source{root(s.Server)}
	}
	return Options{Dir: s.dir, Instance: "shop", Host: "here", Sources: sources, Log: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
		lookEvery: 500 * time.Millisecond, settleFor: 500 * time.Millisecond, Failover: time.Second}
}

// start runs an archiver until the returned function stops it.
func (s *scene) start(o Options) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Error(err)
			}
		case <-time.After(30 * time.Second):
			s.t.Error("the archiver does not stop")
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// once archives what there is.
func (s *scene) once(sources ...Source) {
	s.t.Helper()
	o := s.options(sources...)
	o.Once = true
	if err := Run(s.t.Context(), o); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) logs() []Log {
	s.t.Helper()
	a, err := Open(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	logs, err := a.Logs()
	if err != nil {
		s.t.Fatal(err)
	}
	return logs
}

func (s *scene) last() Log {
	s.t.Helper()
	logs := s.logs()
	return logs[len(logs)-1]
}

// end is where the server writes next.
func (s *scene) end() position {
	s.t.Helper()
	source := root(s.Server)
	conn, f, err := meet(s.t.Context(), &source)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = conn.Close()
	return f.end
}

// await waits until all is archived that the server has.
func (s *scene) await() {
	s.t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		end, logs := s.end(), s.logs()
		if n := len(logs); n > 0 && logs[n-1].Name == end.file && logs[n-1].Size == end.at {
			return
		}
		if time.Now().After(until) {
			s.t.Fatalf("the server is at %s, archived are %+v", end, logs)
		}
	}
}

// equal compares what is archived with the server's files. names are those that must be there, in order.
func (s *scene) equal(logs []Log) {
	s.t.Helper()
	a := &Archive{s.dir}
	for _, l := range logs {
		if err := a.Verify(l); err != nil {
			s.t.Error(err)
		}
		ours, err := os.ReadFile(a.Path(l))
		if err != nil {
			s.t.Fatal(err)
		}
		theirs, err := os.ReadFile(filepath.Join(s.Datadir, l.Name))
		if err != nil {
			s.t.Fatal(err)
		}
		if l.Closed && int64(len(theirs)) != l.Size {
			s.t.Errorf("%s: archived are %d of %d bytes", l.Name, l.Size, len(theirs))
		}
		theirs[start+17] &^= inUse
		if n := min(int64(len(theirs)), l.Size); n != l.Size || !bytes.Equal(ours[:n], theirs[:n]) {
			s.t.Errorf("%s differs from the server's in its first %d bytes", l.Name, l.Size)
		}
		if l.Closed && int64(len(ours)) != l.Size {
			s.t.Errorf("%s: %d bytes are archived, the file has %d", l.Name, l.Size, len(ours))
		}
	}
}

// whole is for an archive of everything since the server's first log: each of its files once, in order, without a gap.
func (s *scene) whole() {
	s.t.Helper()
	logs := s.logs()
	s.equal(logs)
	var archived []string
	for i, l := range logs {
		archived = append(archived, l.Name)
		if l.Gap != nil {
			s.t.Errorf("there is a gap before %s: %+v", l.Name, l.Gap)
		}
		if l.Seq != i+1 || l.Closed != (i < len(logs)-1) {
			s.t.Errorf("wrong is %+v", l)
		}
		if i > 0 && l.GTIDBefore != logs[i-1].GTIDAfter {
			s.t.Errorf("%s begins with %q, and the log before ends with %q", l.Name, l.GTIDBefore, logs[i-1].GTIDAfter)
		}
	}
	source := root(s.Server)
	conn, f, err := meet(s.t.Context(), &source)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	var theirs []string
	for _, l := range f.logs {
		theirs = append(theirs, l.name)
	}
	if !slices.Equal(archived, theirs) {
		s.t.Errorf("archived are %v, the server has %v", archived, theirs)
	}
	s.sameGTIDs(logs[len(logs)-1].GTIDAfter)
}

// sameGTIDs compares with what the server says that it executed.
func (s *scene) sameGTIDs(ours string) {
	s.t.Helper()
	query := "SELECT @@GLOBAL.gtid_executed"
	if s.Build.Product == lab.MariaDB {
		query = "SELECT @@GLOBAL.gtid_binlog_pos"
	}
	theirs, err := s.Value(s.t.Context(), query)
	if err != nil {
		s.t.Fatal(err)
	}
	if theirs = strings.ReplaceAll(theirs, "\n", ""); theirs != ours {
		s.t.Errorf("archived are the GTIDs %q, the server has %q", ours, theirs)
	}
}

// load is a mixed lot of statements.
func (s *scene) load() {
	s.t.Helper()
	s.sql("CREATE DATABASE IF NOT EXISTS mixed", "CREATE TABLE IF NOT EXISTS mixed.t (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT)",
		"INSERT INTO mixed.t (v) VALUES ('a'), (REPEAT('b', 3000000))", "UPDATE mixed.t SET v = CONCAT(v, 'x') LIMIT 1",
		"CREATE TABLE IF NOT EXISTS mixed.m (id INT) ENGINE=MyISAM", "INSERT INTO mixed.m VALUES (1), (2)", "TRUNCATE mixed.m",
		"BEGIN", "INSERT INTO mixed.t (v) VALUES ('c')", "SAVEPOINT s", "INSERT INTO mixed.t (v) VALUES ('d')", "ROLLBACK TO s", "COMMIT",
		"SET SESSION binlog_format=STATEMENT", "INSERT INTO mixed.t (v) VALUES (CONCAT('e', LAST_INSERT_ID()))", "SET @a = 1",
		"INSERT INTO mixed.t (v) VALUES (@a)", "SET SESSION binlog_format=ROW",
		"XA START 'x'", "INSERT INTO mixed.t (v) VALUES ('f')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
		"DROP TABLE mixed.m")
}

// TestMain is an archiver where a test starts one as a process of its own.
func TestMain(m *testing.M) {
	if dir, socket, ok := strings.Cut(os.Getenv("HOLDSTILL_TEST_ARCHIVER"), "\n"); ok {
		o := Options{Dir: dir, Instance: "shop", Host: "here", Sources: []Source{{Socket: socket, User: "root"}}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
		if err := Run(context.Background(), o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process starts an archiver that can be killed.
func (s *scene) process() *exec.Cmd {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "HOLDSTILL_TEST_ARCHIVER="+s.dir+"\n"+s.Socket)
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd
}
