package mariadb

import (
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// TestStatements is the table of what which version hears.
func TestStatements(t *testing.T) {
	for _, test := range []struct {
		version               family.Version
		early, stall, release string
	}{
		{family.V(10, 3, 39), "", "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"},
		{family.V(10, 4, 0), "", "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES"},
		{family.V(10, 4, 1), "BACKUP STAGE START;BACKUP STAGE FLUSH;BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT", "BACKUP STAGE END"},
		{family.V(11, 8, 3), "BACKUP STAGE START;BACKUP STAGE FLUSH;BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT", "BACKUP STAGE END"},
	} {
		s := statements(test.version)
		early := strings.Join(append(append([]string{}, s.Enter...), s.Settle...), ";")
		if early != test.early || s.Stall != test.stall || strings.Join(s.Release, ";") != test.release || s.ClosesTables != (s.Enter == nil) {
			t.Errorf("%v: got %+v", test.version, s)
		}
	}
	if got := thread("STOP", "IO_THREAD", "ea'st"); got != `STOP SLAVE 'ea\'st' IO_THREAD` {
		t.Errorf("got %s", got)
	}
}

func TestGTID(t *testing.T) {
	row := family.Row{"file": "binlog.000001", "gtid_binlog_pos": "0-1-2", "gtid_current_pos": "0-1-2,5-5-5"}
	if got := gtid(row); got != "0-1-2" {
		t.Errorf("with a binary log: got %s", got)
	}
	delete(row, "file")
	if got := gtid(row); got != "0-1-2,5-5-5" {
		t.Errorf("without: got %s", got)
	}
}

func TestKeyFiles(t *testing.T) {
	var got []string
	for _, p := range paths(family.V(10, 11, 0), family.Variables{"file_key_management_filename": "/etc/keys", "file_key_management_filekey": "FILE:/etc/secret"}) {
		if p.Purpose == database.Keyring {
			got = append(got, p.Path)
		}
	}
	if strings.Join(got, " ") != "/etc/keys /etc/secret" {
		t.Errorf("got %q", got)
	}
	if keyFile("an inline secret") != "" {
		t.Error("a secret was taken for a path")
	}
}
