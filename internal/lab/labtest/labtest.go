// Package labtest gives labs to tests: closed with the test, and run over the builds that this machine must have.
package labtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
)

// New makes a lab under /var/tmp (not /tmp, which may be a tmpfs) that is closed with the test; what cannot be cleaned fails it.
func New(t testing.TB) *lab.Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it mounts file systems and starts servers")
	}
	// short: a server's socket path must stay below 107 characters
	dir, err := os.MkdirTemp("/var/tmp", "holdstill-test-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Seeds = filepath.Join(lab.Servers(), ".seeds")
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// The builds that Matrix and WideMatrix run on by default.
var (
	Default = []string{"mariadb-10.11", "mysql-9.7"}
	Wide    = []string{"mariadb-10.11", "mysql-9.7", "mariadb-11.8", "mysql-5.7"}
)

// Matrix runs the test for each default build, one after the other.
func Matrix(t *testing.T, test func(t *testing.T, build lab.Build)) {
	t.Helper()
	matrix(t, Default, test)
}

// WideMatrix runs it for the older and newer builds too.
func WideMatrix(t *testing.T, test func(t *testing.T, build lab.Build)) {
	t.Helper()
	matrix(t, Wide, test)
}

// matrix never skips: a test that silently did not run is worse than one that fails. HOLDSTILL_MATRIX (a comma list) can make it
// smaller or larger, and the log says what that left out.
func matrix(t *testing.T, names []string, test func(t *testing.T, build lab.Build)) {
	t.Helper()
	if chosen := os.Getenv("HOLDSTILL_MATRIX"); chosen != "" {
		wanted := strings.Split(chosen, ",")
		for _, name := range names {
			if !slices.Contains(wanted, name) {
				t.Logf("ATTENTION: HOLDSTILL_MATRIX=%s leaves out %s", chosen, name)
			}
		}
		names = wanted
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			build, err := lab.Find(strings.TrimSpace(name))
			if err != nil {
				t.Fatal(err)
			}
			test(t, build)
		})
	}
}
