package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/lab"
)

// MariaDB's encrypted logs are archived in clear, with the server's positions, so that its own programs read them.
func TestEncryptedMariaDB(t *testing.T) {
	for _, name := range []string{"mariadb-10.11"} { // the packages of 11.8 that we have lack the plugin
		t.Run(name, func(t *testing.T) {
			build, err := lab.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			keys := filepath.Join("/var/tmp", filepath.Base(t.TempDir())+"-keys-"+name)
			if err := os.WriteFile(keys, []byte("1;"+strings.Repeat("a1", 32)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Remove(keys) })
			s := newScene(t, build, "plugin-load-add=file_key_management", "loose-file-key-management-filename="+keys, "encrypt-binlog=1")
			s.load()
			s.once()
			s.sql("FLUSH LOGS", "CREATE DATABASE later")
			s.once() // in the middle of a log
			s.sql("CREATE DATABASE evenlater")
			s.once()
			s.await()
			logs := s.logs()
			if len(logs) < 2 {
				t.Fatalf("archived are %+v", logs)
			}
			a := &Archive{s.dir}
			for _, l := range logs {
				if !l.Encrypted || l.Gap != nil {
					t.Errorf("wrong is %+v", l)
				}
				if err := a.Verify(l); err != nil {
					t.Error(err)
				}
				out, err := exec.CommandContext(t.Context(), build.Binlog, "--no-defaults", "--verify-binlog-checksum", a.Path(l)).CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v: %s", l.Name, err, out)
				}
			}
			s.sameGTIDs(logs[len(logs)-1].GTIDAfter)
		})
	}
}
