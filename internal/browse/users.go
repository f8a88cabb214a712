package browse

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/holdstill/holdstill/internal/mount"
)

// User is who uses a mount.
type User struct {
	PID  int    `json:"pid,omitempty"`
	Name string `json:"name"` // of the process, or the mount
	Uses string `json:"uses"`
}

func (u User) String() string {
	if u.PID == 0 {
		return fmt.Sprintf("the %s over %s", u.Name, u.Uses)
	}
	return fmt.Sprintf("process %d (%s) uses %s", u.PID, u.Name, u.Uses)
}

// Users lists who uses anything at dir or below it: processes of this machine, and overlays that lie over it. Only names are compared,
// nothing of the mount is touched: it may be dead.
func Users(dir string) []User {
	out := overlays(dir)
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range names {
		pid, err := strconv.Atoi(filepath.Base(proc))
		if err != nil {
			continue
		}
		if used := usedBy(proc, dir); used != "" {
			comm, _ := os.ReadFile(proc + "/comm")
			out = append(out, User{PID: pid, Name: strings.TrimSpace(string(comm)), Uses: used})
		}
	}
	slices.SortFunc(out, func(a, b User) int { return a.PID - b.PID })
	return out
}

// usedBy tells one path below dir that a process uses; "" if none. A process that ends meanwhile uses nothing.
func usedBy(proc, dir string) string {
	links := []string{proc + "/cwd", proc + "/root", proc + "/exe"}
	fds, _ := os.ReadDir(proc + "/fd")
	for _, fd := range fds {
		links = append(links, proc+"/fd/"+fd.Name())
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && in(dir, target) {
			return target
		}
	}
	return mapped(proc+"/maps", dir)
}

func in(dir, path string) bool {
	_, below := mount.Below(dir, path)
	return below
}

// mapped finds a file below dir that is mapped into memory.
func mapped(maps, dir string) string {
	f, err := os.Open(maps)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if i := strings.Index(lines.Text(), " /"); i >= 0 && in(dir, lines.Text()[i+1:]) {
			return lines.Text()[i+1:]
		}
	}
	return ""
}

// overlays lists the overlays with a layer below dir: they keep the files in use without any process.
func overlays(dir string) []User {
	all, _ := mountinfo.GetMounts(mountinfo.FSTypeFilter("overlay"))
	var out []User
	for _, m := range all {
		for _, word := range strings.FieldsFunc(m.VFSOptions, func(r rune) bool { return strings.ContainsRune(",:=", r) }) {
			if in(dir, word) {
				out = append(out, User{Name: "overlay at " + m.Mountpoint, Uses: word})
				break
			}
		}
	}
	return out
}
