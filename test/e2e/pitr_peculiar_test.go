package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestPeculiarLogs goes from moment to moment through logs that the server encrypts and compresses, with GTIDs of several domains (MariaDB) or with tags
// (MySQL), and definitions that are logged in two phases (MariaDB).
func TestPeculiarLogs(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		l := labtest.New(t)
		if build.Product == lab.MySQL { // it looks for what to load beside itself
			raw := must(os.ReadFile(build.Server))(t)
			build.Server = filepath.Join(l.Dir(), "mysqld")
			check(t, os.WriteFile(build.Server, raw, 0o755))
		}
		s := openIn(t, l, build, onBtrfs, "shop", lab.Spec{})
		s.encrypts()
		j := newJournal(t, build, s.server.Socket, 8)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		s.backup()
		j.steps()[0]()
		first := *j.note("insert")
		j.apart(1)
		second := *j.note("apart")
		j.large()
		third := j.Moments[len(j.Moments)-1]
		j.do("ALTER TABLE keep ADD COLUMN more INT DEFAULT 7")
		fourth := *j.note("alter")
		j.do("FLUSH BINARY LOGS")
		j.apart(2)
		last := *j.note("apart")
		s.holdstill("binlog", "archive", "--once").want(t, 0)
		s.refusesMoment(t, "the server's own files", 1, "encrypted", "--binlogs", s.server.Datadir, "--until-position", position(first))

		dir := filepath.Join(s.volume.Dir, "copy")
		s.restoreWithout(t, dir, "--until-gtid", j.apartGTID(1, second)).want(t, 0)
		s.getsTo(t, dir, third, "--until-position", position(fourth), "--before")
		s.getsTo(t, dir, last, "--until-gtid", j.apartGTID(2, last))
	})
}

func position(m moment) string { return fmt.Sprintf("%s:%d", m.file, m.offset) }

// apart commits a transaction in a domain of its own, or with a tag.
func (j *journal) apart(n int) {
	const insert = "INSERT INTO log (what) VALUES ('apart')"
	if j.build.Product == lab.MariaDB {
		j.do(fmt.Sprintf("SET SESSION gtid_domain_id = %d", n), insert, "SET SESSION gtid_domain_id = 0")
		return
	}
	j.do(fmt.Sprintf("SET GTID_NEXT = 'AUTOMATIC:apart%d'", n), insert, "SET GTID_NEXT = 'AUTOMATIC'")
}

// apartGTID is that of the n-th.
func (j *journal) apartGTID(n int, m moment) string {
	if j.build.Product == lab.MariaDB {
		return m.gtid
	}
	return fmt.Sprintf("%s:apart%d:1", j.ask("SELECT @@GLOBAL.server_uuid"), n)
}

// encrypts starts the server anew, with keys on its own volume.
func (s *shop) encrypts() {
	t := s.t
	t.Helper()
	check(t, s.server.Stop(t.Context()))
	keys := filepath.Join(s.volume.Dir, "keys")
	check(t, os.Mkdir(keys, 0o777))
	check(t, os.Chmod(keys, 0o777))
	lines := "[mysqld]\nbinlog-encryption=ON\nbinlog-transaction-compression=ON\n"
	if s.server.Build.Product == lab.MariaDB {
		check(t, os.WriteFile(filepath.Join(keys, "keys"), []byte("1;"+strings.Repeat("a1", 32)+"\n"), 0o644))
		lines = "[mysqld]\nplugin-load-add=file_key_management\nloose-file-key-management-filename=" + keys +
			"/keys\nencrypt-binlog=1\nlog-bin-compress=ON\nlog-bin-compress-min-len=10\nbinlog-alter-two-phase=ON\n"
	} else {
		check(t, os.WriteFile(filepath.Join(keys, "keys"), nil, 0o600)) // else it is root's: it is made before the server gives up its rights
		manifest := filepath.Join(s.volume.Dir, "manifest")
		check(t, os.WriteFile(manifest, []byte(`{"components": "file://component_keyring_file"}`), 0o644))
		check(t, os.Symlink(manifest, s.server.Build.Server+".my"))
		plugins := filepath.Join(s.volume.Dir, "plugins")
		check(t, os.CopyFS(plugins, os.DirFS(filepath.Join(s.server.Build.Root, "usr/lib/mysql/plugin"))))
		lines += "plugin-dir=" + plugins + "\n"
		check(t, os.WriteFile(filepath.Join(plugins, "component_keyring_file.cnf"), fmt.Appendf(nil, `{"path": %q, "read_only": false}`, keys+"/keys"), 0o644))
	}
	check(t, os.WriteFile(s.server.OptionFile, append(must(os.ReadFile(s.server.OptionFile))(t), lines...), 0o600))
	check(t, exec.Command("chown", "-R", "mysql", s.server.OptionFile, keys).Run())
	check(t, s.server.Start(t.Context()))
}
