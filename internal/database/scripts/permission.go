package scripts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// demand is what a kind of file has to be, since all of them make root run something.
type demand struct {
	what       string
	missing    int // the code if it is not there
	permission int // and if others could change or read it
	forbidden  fs.FileMode
	chmod      string
}

const special = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

var (
	hostFile   = demand{"the host's configuration", codeHostMissing, codeHostPermission, 0o033 | special, "644"}
	pluginFile = demand{"the plugin's configuration", codePluginMissing, codePluginPermission, 0o177 | special, "600"}
	backupFile = demand{"the configuration of the backup", codeHostMissing, codeHostPermission, 0o022 | special, "644"}
)

// check looks whether a script may be run.
func (s script) check() *Failure {
	what := fmt.Sprintf("the %s script", s.phase)
	if s.path == "" {
		return failure(s.code(codeNotFound), fmt.Sprintf("set %sScriptLocation", s.phase), "%s is not set", what)
	}
	return checkFile(s.path, demand{what, s.code(codeNotFound), s.code(codePermission), 0o077 | special, "700"})
}

// checkFile looks at a file and at the way to it.
func checkFile(path string, d demand) *Failure {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failure(d.missing, "put it there, or correct the path", "%s %s does not exist", d.what, path)
	case err != nil:
		return failure(d.permission, "correct the path", "cannot look at %s: %v", d.what, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return failure(d.permission, "give the path of the file itself", "%s %s is a symlink", d.what, path)
	case !info.Mode().IsRegular():
		return failure(d.missing, "give the path of a file", "%s %s is no file", d.what, path)
	case owner(info) != 0:
		return failure(d.permission, "type: chown root "+path, "%s %s belongs to user %d, not to root", d.what, path, owner(info))
	case info.Mode()&d.forbidden != 0:
		return failure(d.permission, fmt.Sprintf("type: chmod 0%s %s", d.chmod, path), "%s %s has the mode %s, which must be as in %s", d.what, path, octal(info.Mode()), d.chmod)
	}
	if at, err := checkWay(path); err != nil {
		return failure(d.permission, "make "+at+" root's own: chown root "+at+"; chmod go-w "+at, "%s %s could be replaced by others: %v", d.what, path, err)
	}
	return nil
}

// most is how many symlinks the kernel follows.
const most = 40

// checkWay looks at every directory on the way to a file, behind symlinks too: who can write to one of them can put another file
// in its place. It names the first that is not safe.
func checkWay(path string) (string, error) {
	dir, rest := "/", parts(path)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(dir, rest[0])
		info, err := os.Lstat(next)
		if err != nil {
			return next, err
		}
		if err := guards(dir, info); err != nil {
			return dir, err
		}
		rest = rest[1:]
		if info.Mode()&fs.ModeSymlink == 0 {
			dir = next
			continue
		}
		if links++; links > most {
			return next, errors.New("too many symlinks")
		}
		target, err := os.Readlink(next)
		if err != nil {
			return next, err
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = append(parts(target), rest...)
	}
	return "", nil
}

func parts(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// guards reports whether nobody but root can exchange an entry of a directory. In a sticky one (/tmp) only the owner of an entry can.
func guards(dir string, entry fs.FileInfo) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner(info) != 0 {
		return fmt.Errorf("the directory %s belongs to user %d", dir, owner(info))
	}
	if info.Mode().Perm()&0o022 == 0 || info.Mode()&fs.ModeSticky != 0 && owner(entry) == 0 {
		return nil
	}
	return fmt.Errorf("the directory %s can be written to by others (mode %s)", dir, octal(info.Mode()))
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// octal writes a mode as chmod(1) takes it.
func octal(m fs.FileMode) string {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return fmt.Sprintf("%04o", bits)
}
