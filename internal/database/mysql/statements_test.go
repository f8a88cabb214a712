package mysql

import (
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
)

// TestStatements is the table of what which version hears.
func TestStatements(t *testing.T) {
	for _, test := range []struct {
		version                              family.Version
		enter, position, status, stop, temps string
		super                                bool
	}{
		{family.V(5, 6, 51), "", "SHOW MASTER STATUS", "SHOW SLAVE STATUS", "STOP SLAVE SQL_THREAD", "Slave_open_temp_tables", false},
		{family.V(5, 7, 44), "", "SHOW MASTER STATUS", "SHOW SLAVE STATUS", "STOP SLAVE SQL_THREAD FOR CHANNEL 'c'", "Slave_open_temp_tables", true},
		{family.V(8, 0, 21), "LOCK INSTANCE FOR BACKUP", "SHOW MASTER STATUS", "SHOW SLAVE STATUS", "STOP SLAVE SQL_THREAD FOR CHANNEL 'c'", "Slave_open_temp_tables", true},
		{family.V(8, 0, 36), "LOCK INSTANCE FOR BACKUP", "SHOW MASTER STATUS", "SHOW REPLICA STATUS", "STOP REPLICA SQL_THREAD FOR CHANNEL 'c'", "Replica_open_temp_tables", true},
		{family.V(8, 4, 0), "LOCK INSTANCE FOR BACKUP", "SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS", "STOP REPLICA SQL_THREAD FOR CHANNEL 'c'", "Replica_open_temp_tables", true},
		{family.V(9, 7, 0), "LOCK INSTANCE FOR BACKUP", "SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS", "STOP REPLICA SQL_THREAD FOR CHANNEL 'c'", "Replica_open_temp_tables", true},
	} {
		s := statements(test.version)
		if strings.Join(s.Enter, ";") != test.enter || s.Position[0] != test.position || s.ReplicaStatus != test.status ||
			s.Thread("STOP", "SQL_THREAD", "c") != test.stop || s.TempTables != test.temps || s.SuperReadOnly != test.super {
			t.Errorf("%v: got %+v", test.version, s)
		}
		if s.Stall != "FLUSH TABLES WITH READ LOCK" || !s.ClosesTables || s.Release[0] != "UNLOCK TABLES" {
			t.Errorf("%v: got %+v", test.version, s)
		}
	}
}

func TestPaths(t *testing.T) {
	v := family.Variables{"innodb_log_group_home_dir": "/redo", "innodb_doublewrite_dir": "", "innodb_data_home_dir": "/home", "innodb_directories": "/a;/b c"}
	got := paths(family.V(8, 0, 30), v)
	for _, want := range []database.Path{
		{Purpose: database.RedoLog, Path: "/redo/#innodb_redo"}, {Purpose: database.Doublewrite, Path: "/home"},
		{Purpose: database.Tablespace, Path: "/a"}, {Purpose: database.Tablespace, Path: "/b c"},
	} {
		found := false
		for _, p := range got {
			found = found || p == want
		}
		if !found {
			t.Errorf("%v is missing from %v", want, got)
		}
	}
	if redo(family.V(8, 0, 29), "/redo") != "/redo" || redo(family.V(5, 7, 0), "") != "." {
		t.Error("the redo log of old versions lies in the directory itself")
	}
}

func TestGTID(t *testing.T) {
	if got := gtid(family.Row{"executed_gtid_set": "", "gtid_executed": "u:1-3"}); got != "u:1-3" {
		t.Errorf("got %s", got)
	}
}
