package dump

import (
	"testing"

	"github.com/holdstill/holdstill/internal/schema"
)

// Which tool may dump which server: one that would lose something without a word may not.
func TestWhichToolCan(t *testing.T) {
	for _, c := range []struct {
		says, product, version string
		generated, can         bool
	}{
		{"mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "mysql", "9.7.4-2", true, true},
		{"mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "mysql", "8.0.36", true, true},
		{"mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", "mysql", "8.4.1", false, false},
		{"mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", "mysql", "5.7.44-log", true, true},
		{"mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", "mysql", "8.0.36", false, false},
		{"mysqldump  Ver 8.0.36 for Linux on x86_64", "mariadb", "10.11.6-MariaDB", false, false},
		{"mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "mariadb", "10.11.19-MariaDB-log", true, true},
		{"mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "mariadb", "11.8.6-MariaDB", false, false},
		{"/usr/bin/mariadb-dump from 11.8.6-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", "mariadb", "10.11.19-MariaDB", true, true},
		{"mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "mysql", "8.0.36", false, false},
		{"mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "mysql", "5.7.44", false, true},
		{"mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", "mysql", "5.7.44", true, false},
	} {
		tool, err := readVersion("/usr/bin/tool", c.says)
		if err != nil {
			t.Fatal(err)
		}
		problem, _ := judge(tool, &schema.Server{Product: c.product, Version: c.version}, c.generated)
		if (problem == "") != c.can {
			t.Errorf("%s with %s %s: %q", c.says, c.product, c.version, problem)
		}
	}
	if _, err := readVersion("/usr/bin/tool", "something else"); err == nil {
		t.Error("a program without a version is taken for a tool")
	}
}
