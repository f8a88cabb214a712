package family

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/optionfile"
)

// process looks the server up in /proc. A server on another host or behind another pid namespace cannot be seen.
func (r *reader) process() error {
	if r.Endpoint.Socket == "" && !isLocal(r.Endpoint.Host) {
		return fmt.Errorf("the server is reached over the network at %s", r.Endpoint.Host)
	}
	pid, err := r.findProcess()
	if err != nil {
		return err
	}
	r.out.Process, err = describe(pid, r.dialect.Groups(r.Version))
	r.out.SkipStart = r.out.SkipStart || skipsStart(r.out.Process)
	return err
}

// skipsStart looks for the option itself: MariaDB and older MySQL have no variable of that name.
func skipsStart(p database.Process) bool {
	for _, o := range optionfile.Merge(p.OptionFiles, p.Arguments) {
		switch strings.TrimPrefix(o.Name, "loose_") {
		case "skip_slave_start", "skip_replica_start":
			if o.Bare || IsOn(o.Value) {
				return true
			}
		}
	}
	return false
}

func isLocal(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// findProcess trusts the pid file only if that process works in our data directory; else it asks every process.
func (r *reader) findProcess() (int, error) {
	dir := r.below(r.vars["datadir"])
	if content, err := os.ReadFile(r.below(r.vars["pid_file"])); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && worksIn(pid, dir) {
			return pid, nil
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isServer(pid) && worksIn(pid, dir) {
			return pid, nil
		}
	}
	return 0, errors.New("no process here works in " + dir)
}

// worksIn compares the directory itself, not its name: a server changes into its data directory, whatever it is called.
func worksIn(pid int, dir string) bool {
	cwd, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false
	}
	want, err := os.Stat(dir)
	return err == nil && os.SameFile(cwd, want)
}

func isServer(pid int) bool {
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return false
	}
	name := strings.TrimSpace(string(comm))
	return strings.HasPrefix(name, "mysqld") || strings.HasPrefix(name, "mariadbd")
}

func describe(pid int, groups []string) (database.Process, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	p := database.Process{PID: pid}
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return p, err
	}
	p.Executable = strings.TrimSuffix(exe, " (deleted)") // an upgrade replaced it under the running server
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return p, err
	}
	arguments := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	p.Arguments = optionfile.HideArguments(arguments)
	p.Cgroup = cgroup(dir)
	if info, err := os.Stat(dir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			p.UID, p.GID = int(st.Uid), int(st.Gid)
		}
	}
	environment, _ := os.ReadFile(filepath.Join(dir, "environ")) // tells of a personal option file; not worth failing for
	files := optionfile.ServerFiles(arguments).In(strings.Split(string(environment), "\x00"))
	p.OptionFiles, err = optionfile.ReadServer(files, groups)
	return p, err
}

// cgroup is the path in the unified hierarchy, or in systemd's own of the old kind.
func cgroup(dir string) string {
	content, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (fields[0] == "0" || fields[1] == "name=systemd") {
			return fields[2]
		}
	}
	return ""
}
