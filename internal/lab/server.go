package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// Spec says what server to make. The zero value of everything but Name will do.
type Spec struct {
	Name      string
	Datadir   string   // default dir/name/data; must lie in the lab
	Subvolume bool     // make the datadir a btrfs subvolume (it must lie on btrfs)
	Port      int      // 0: a free one; 3306 in a namespace
	ServerID  int      // 0: the lab's next
	Bind      string   // default 127.0.0.1
	Netns     string   // the real name of the namespace, see Network.Netns
	Options   []string // lines of the option file's server section; they come last and win
	Logs      bool     // write every statement to dir/name/log/general.log
	Bare      bool     // do not name the relay logs: Debian's option files do not either
}

// Server is one database server of a lab. It is made stopped.
type Server struct {
	Spec
	Build Build

	Dir, OptionFile, Socket, ErrorLog, PIDFile string

	service string
	pool    pool
}

// Linux's limit for the path of a socket, less the final zero.
const socketPathMax = 107

// Server initialises a server and leaves it stopped.
func (l *Lab) Server(ctx context.Context, b Build, spec Spec) (*Server, error) {
	s, err := l.makeServer(ctx, b, spec)
	if err != nil {
		return nil, fmt.Errorf("cannot make the server %s (%s): %w", spec.Name, b.Name, err)
	}
	return s, nil
}

func (l *Lab) makeServer(ctx context.Context, b Build, spec Spec) (*Server, error) {
	dir, err := l.take(spec.Name)
	if err != nil {
		return nil, err
	}
	s := &Server{Spec: spec, Build: b, Dir: dir}
	if err := l.fill(s); err != nil {
		return nil, err
	}
	if err := s.makeDirs(ctx); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.OptionFile, []byte(s.optionFile()), 0o644); err != nil {
		return nil, err
	}
	if err := s.writeService(); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx, l.Seeds); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers = append(l.servers, s)
	return s, nil
}

// fill decides what the spec left open.
func (l *Lab) fill(s *Server) error {
	s.OptionFile = filepath.Join(s.Dir, "my.cnf")
	s.Socket = filepath.Join(s.Dir, "run", "mysqld.sock")
	s.PIDFile = filepath.Join(s.Dir, "run", "mysqld.pid")
	s.ErrorLog = filepath.Join(s.Dir, "log", "error.log")
	s.service = filepath.Join(s.Dir, "service")
	if len(s.Socket) > socketPathMax {
		return fmt.Errorf("the socket's path %s is longer than %d characters", s.Socket, socketPathMax)
	}
	if s.Datadir == "" {
		s.Datadir = filepath.Join(s.Dir, "data")
	}
	s.Datadir = filepath.Clean(s.Datadir)
	if !strings.HasPrefix(s.Datadir, l.dir+"/") || !plain.MatchString(s.Datadir) {
		return fmt.Errorf("the datadir %s is not in the lab %s", s.Datadir, l.dir)
	}
	if s.Bind == "" {
		s.Bind = "127.0.0.1"
	}
	if s.ServerID == 0 {
		l.mu.Lock()
		l.lastID++
		s.ServerID = l.lastID
		l.mu.Unlock()
	}
	if s.Port != 0 {
		return nil
	}
	if s.Netns != "" {
		s.Port = 3306
		return nil
	}
	var err error
	s.Port, err = freePort(s.Bind)
	return err
}

// freePort looks below the range that the kernel gives to clients: a port from that range may be some client's before the server
// is up. It starts at random, since labs in other processes look too.
func freePort(bind string) (int, error) {
	for range 100 {
		port := 12000 + rand.IntN(20000)
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(bind, strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port on %s", bind)
}

func mysqlUser() (uid, gid int, err error) {
	u, err := user.Lookup("mysql")
	if err != nil {
		return 0, 0, fmt.Errorf("servers run as user mysql, which the package mariadb-server makes (scripts/prereqs.sh): %w", err)
	}
	uid, errU := strconv.Atoi(u.Uid)
	gid, errG := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(errU, errG)
}

func (s *Server) makeDirs(ctx context.Context) error {
	uid, gid, err := mysqlUser()
	if err != nil {
		return err
	}
	for _, dir := range []string{s.Dir, filepath.Join(s.Dir, "run"), filepath.Join(s.Dir, "log"), filepath.Join(s.Dir, "tmp")} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.Datadir), 0o755); err != nil {
		return err
	}
	if s.Subvolume {
		if _, err := run(ctx, "btrfs", "subvolume", "create", s.Datadir); err != nil {
			return err
		}
	} else if err := os.Mkdir(s.Datadir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return errors.Join(os.Chown(s.Datadir, uid, gid), os.Chmod(s.Datadir, 0o700))
}
