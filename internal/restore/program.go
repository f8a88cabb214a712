package restore

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// Program is a server's executable and what it says about itself.
type Program struct {
	Path    string
	Product string // mysql or mariadb
	Version string
	Err     string // why it cannot be used
}

var versionPattern = regexp.MustCompile(`Ver (\d+\.\d+\.\d+)\S*`)

func lookAtServer(ctx context.Context, r Request) Program {
	p := Program{Path: r.Server}
	if p.Path == "" {
		p.Err = "the point does not tell the server's executable"
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, "--no-defaults", "--version")
	cmd.Env = Environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.Err = fmt.Sprintf("%v: %s", err, strings.TrimSpace(string(out)))
		return p
	}
	found := versionPattern.FindStringSubmatch(string(out))
	if found == nil {
		p.Err = "it does not tell its version but: " + strings.TrimSpace(string(out))
		return p
	}
	p.Version = found[1]
	p.Product = database.MySQL
	if strings.Contains(string(out), "MariaDB") {
		p.Product = database.MariaDB
	}
	return p
}

// Version is a server's version as numbers.
type Version [3]int

// ParseVersion reads "10.11.19-MariaDB-log" as 10.11.19; what is missing is 0.
func ParseVersion(s string) (v Version) {
	number := s
	if at := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); at >= 0 {
		number = s[:at]
	}
	for i, part := range strings.SplitN(number, ".", 3) {
		v[i], _ = strconv.Atoi(part)
	}
	return v
}

// AtLeast compares versions of one product.
func (v Version) AtLeast(major, minor, patch int) bool {
	return v.Compare(Version{major, minor, patch}) >= 0
}

// Compare is -1, 0 or 1.
func (v Version) Compare(o Version) int {
	for i := range v {
		if v[i] != o[i] {
			if v[i] < o[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// Series are the first two numbers: what the products' upgrades are about.
func (v Version) Series() string { return fmt.Sprintf("%d.%d", v[0], v[1]) }

// isMariaDB tells the two families apart; Percona is MySQL's.
func isMariaDB(product string) bool { return product == database.MariaDB }

// freePort is the wanted port if it is free, else, if none was asked for, the next free one; 0 if there is none.
func freePort(ctx context.Context, r Request) int {
	wanted := r.Port
	if wanted == 0 {
		wanted = r.Point.Server.Port
	}
	if wanted <= 0 {
		wanted = 3306
	}
	for port := wanted; port < 65536 && port < wanted+1000; port++ {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(listenable(r.BindAddress), strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
		if r.Port != 0 {
			return 0
		}
	}
	return 0
}

// listenable turns the server's ways to say "everywhere" into Go's; of a list of addresses the first is tried.
func listenable(bind string) string {
	bind, _, _ = strings.Cut(bind, ",")
	if bind == "*" {
		return ""
	}
	return bind
}
