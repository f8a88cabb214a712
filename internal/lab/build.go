package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The two products. MySQL of every version counts as one: its versions differ in statements, see Build.AtLeast.
const (
	MySQL   = "mysql"
	MariaDB = "mariadb"
)

// Build is one server's programs on this machine.
type Build struct {
	Name    string // "mysql-9.7"
	Product string // MySQL or MariaDB
	Major   int
	Minor   int
	Root    string // the tree it was unpacked in, "/" for the system's

	Server, Client, Admin, Dump, Binlog string
	Install                             string   // mariadb-install-db; "" on MySQL, whose server initialises
	Env                                 []string // for the server only: the clients may be the system's
	Plugins                             string   // the directory of the plugins; "": the build's own

	like *Build // whose data directories are as good, see WithKeyring
}

// AtLeast compares the version; a product's versions say nothing about the other's.
func (b Build) AtLeast(major, minor int) bool {
	return b.Major > major || b.Major == major && b.Minor >= minor
}

// NewStatements is true where MySQL says SOURCE and REPLICA; the old words are gone there since 8.4.
func (b Build) NewStatements() bool { return b.Product == MySQL && b.AtLeast(8, 4) }

var builds = []Build{
	{Name: "mariadb-10.11", Product: MariaDB, Major: 10, Minor: 11},
	{Name: "mariadb-11.8", Product: MariaDB, Major: 11, Minor: 8},
	{Name: "mysql-9.7", Product: MySQL, Major: 9, Minor: 7},
	{Name: "mysql-5.7", Product: MySQL, Major: 5, Minor: 7},
	{Name: "mysql-5.6", Product: MySQL, Major: 5, Minor: 6},
}

// Names are all builds that a lab can know, found here or not.
func Names() []string {
	names := make([]string, 0, len(builds))
	for _, b := range builds {
		names = append(names, b.Name)
	}
	return names
}

// Servers is the directory of the builds that were fetched beside the system.
func Servers() string {
	if dir := os.Getenv("HOLDSTILL_SERVERS"); dir != "" {
		return dir
	}
	return "/var/cache/holdstill/servers"
}

// Find looks a build up on this machine. The error says which command brings it.
func Find(name string) (Build, error) {
	for _, b := range builds {
		if b.Name != name {
			continue
		}
		if name == "mariadb-10.11" {
			return system(b)
		}
		return fetched(b)
	}
	return Build{}, fmt.Errorf("no server is called %q: there are %s", name, strings.Join(Names(), ", "))
}

func system(b Build) (Build, error) {
	b.Root = "/"
	b.mariadbPrograms("/usr")
	out, err := exec.CommandContext(context.Background(), b.Server, "--no-defaults", "--version").CombinedOutput()
	if err != nil {
		return Build{}, fmt.Errorf("%s is not installed (scripts/prereqs.sh): %w", b.Name, err)
	}
	if !strings.Contains(string(out), fmt.Sprintf("Ver %d.%d.", b.Major, b.Minor)) {
		return Build{}, fmt.Errorf("the system's MariaDB is not %d.%d but: %s", b.Major, b.Minor, strings.TrimSpace(string(out)))
	}
	return b, nil
}

func fetched(b Build) (Build, error) {
	b.Root = filepath.Join(Servers(), b.Name)
	if _, err := os.Stat(filepath.Join(b.Root, ".complete")); err != nil {
		return Build{}, fmt.Errorf("%s is not on this machine: run scripts/fetch-server.sh %s: %w", b.Name, b.Name, err)
	}
	switch {
	case b.Product == MariaDB:
		b.mariadbPrograms(filepath.Join(b.Root, "usr"))
	case b.AtLeast(8, 0):
		bin := filepath.Join(b.Root, "usr/bin")
		b.Server = filepath.Join(b.Root, "usr/sbin/mysqld")
		b.Client, b.Admin = filepath.Join(bin, "mysql"), filepath.Join(bin, "mysqladmin")
		b.Dump, b.Binlog = filepath.Join(bin, "mysqldump"), filepath.Join(bin, "mysqlbinlog")
	default:
		// these packages hold the server only, and one library it needs; the system's MariaDB clients talk to it
		b.mariadbPrograms("/usr")
		b.Install = ""
		b.Server = filepath.Join(b.Root, "mysqld")
		b.Env = []string{"LD_LIBRARY_PATH=" + b.Root}
	}
	return b, nil
}

func (b *Build) mariadbPrograms(usr string) {
	bin := filepath.Join(usr, "bin")
	b.Server = filepath.Join(usr, "sbin/mariadbd")
	b.Client, b.Admin = filepath.Join(bin, "mariadb"), filepath.Join(bin, "mariadb-admin")
	b.Dump, b.Binlog = filepath.Join(bin, "mariadb-dump"), filepath.Join(bin, "mariadb-binlog")
	b.Install = filepath.Join(bin, "mariadb-install-db")
}
