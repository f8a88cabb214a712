package family

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"10.11.19-MariaDB-0+deb12u1-log": V(10, 11, 19), "8.0.36-28.1": V(8, 0, 36), "9.7.4-2": V(9, 7, 4), "5.7.29-log": V(5, 7, 29),
		"5.5.5-10.3.39-MariaDB": V(10, 3, 39), "8.4": V(8, 4, 0),
	} {
		if got, err := ParseVersion(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	if _, err := ParseVersion("unknown"); err == nil {
		t.Error("no error")
	}
	if !V(8, 0, 30).AtLeast(V(8, 0, 22)) || V(8, 0, 21).AtLeast(V(8, 0, 22)) || V(5, 7, 40).AtLeast(V(8, 0, 0)) || !V(10, 11, 0).AtLeast(V(10, 5, 2)) {
		t.Error("versions compare wrongly")
	}
}

func TestGrants(t *testing.T) {
	g := parseGrants([]string{
		"GRANT RELOAD, PROCESS, SELECT (a, b), BINLOG MONITOR ON *.* TO `h`@`localhost` IDENTIFIED BY PASSWORD '*ABC'",
		"GRANT BACKUP_ADMIN,XA_RECOVER_ADMIN ON *.* TO `h`@`localhost`",
		"GRANT SELECT ON `performance\\_schema`.* TO `h`@`localhost`",
		"GRANT ALL PRIVILEGES ON `shop`.`orders` TO `h`@`localhost` WITH GRANT OPTION",
		"GRANT `role`@`%` TO `h`@`localhost`",
	})
	for privilege, on := range map[string]string{"RELOAD": "*.*", "BINLOG MONITOR": "*.*", "BACKUP_ADMIN": "*.*", "SELECT": "performance_schema.*", "UPDATE": "shop.orders"} {
		if !g.has(privilege, on) {
			t.Errorf("%s on %s is not seen in %v", privilege, on, g)
		}
	}
	if g.has("SELECT", "*.*") || g.has("UPDATE", "*.*") || g.has("SUPER", "*.*") {
		t.Errorf("too much is seen in %v", g)
	}
	needs := []Need{
		{AnyOf: [][]string{{"RELOAD"}}, On: "*.*"},
		{AnyOf: [][]string{{"SHOW VIEW"}, {"SELECT"}}, On: "*.*"},
		{AnyOf: [][]string{{"A", "B"}, {"SUPER"}}, On: "*.*"},
		{AnyOf: [][]string{{"INSERT"}}, On: "performance_schema.*"},
	}
	got := missing(g, needs, "'h'@'localhost'", func(Need) bool { return true })
	want := "GRANT SHOW VIEW, A, B ON *.* TO 'h'@'localhost'; GRANT INSERT ON performance_schema.* TO 'h'@'localhost';"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
}

// What a run set in the memory of a server is gone with a reboot, and the option files say what is right: nobody is asked.
func TestARebootTakesBackWhatWasInMemory(t *testing.T) {
	nobody := database.Endpoint{Socket: filepath.Join(t.TempDir(), "absent.sock")}
	before := memory{Boot: "another"}
	for kind, args := range map[string]any{
		ReadOnlyKind:    readOnlyArgs{memory: before, Endpoint: nobody, ReadOnly: "OFF"},
		ReplicationKind: replicationArgs{memory: before, Endpoint: nobody, Channels: []channelState{{Receiver: true}}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // no patience with a server that is absent
		if err := Undoers()[kind](ctx, undo.NewDeed(kind, "readonly", "", "", args)); err != nil {
			t.Errorf("%s after a reboot: %v", kind, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now := readOnlyArgs{memory: inMemory(), Endpoint: nobody}
	if err := Undoers()[ReadOnlyKind](ctx, undo.NewDeed(ReadOnlyKind, "readonly", "", "", now)); err == nil {
		t.Error("the same boot counts as another")
	}
}

func TestUptime(t *testing.T) {
	for shown, want := range map[string]int64{"3600": 3600, "18446744073709548016": -3600, "-3600": -3600, "": 0} {
		if got := uptime(shown); got != want {
			t.Errorf("%q is %d, want %d", shown, got, want)
		}
	}
}

func TestSystemFiles(t *testing.T) {
	got := strings.Join(systemFiles("/home", "ibdata1:12M;/disk2/ibdata2:50M:autoextend:max:1G; raw:3Gnewraw"), " ")
	if want := "/home/ibdata1 /disk2/ibdata2 /home/raw"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestVerbOf(t *testing.T) {
	for text, want := range map[string]string{
		"select 1": "SELECT", " /* app */ insert into t": "INSERT", "UPDATE`t` SET a=1": "UPDATE", "": "", "/* never ends": "", "(SELECT 1)": "",
	} {
		if got := verbOf(text); got != want {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestBlocksStages(t *testing.T) {
	loose := &looseTables{engines: []database.Engine{{Name: "MyISAM", Tables: 1}}, names: []string{"visits"}}
	for text, want := range map[string]bool{
		"ALTER TABLE a ADD b INT": true, "UPDATE visits SET a = 1": true, "UPDATE orders SET a = 1": false, "SELECT * FROM visits": false, "COMMIT": true,
	} {
		if got := blocksStages(text, loose); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestReadChannel(t *testing.T) {
	old := Row{"connection_name": "east", "master_host": "h", "master_port": "3307", "relay_master_log_file": "b.7", "exec_master_log_pos": "88",
		"slave_io_running": "Connecting", "slave_sql_running": "No", "using_gtid": "Slave_Pos", "gtid_slave_pos": "0-1-2,\n1-1-5", "seconds_behind_master": "",
		"replicate_do_db": "shop", "replicate_wild_do_table": "a.%", "last_sql_error": "duplicate", "master_ssl_allowed": "Yes", "master_server_id": "4"}
	c := readChannel(old)
	if c.Name != "east" || c.Host != "h" || c.Port != 3307 || c.File != "b.7" || c.Offset != 88 || !c.Receiver || c.Applier || !c.AutoPosition ||
		c.GTID != "0-1-2,1-1-5" || c.Lag != nil || c.Filters != "replicate_do_db=shop replicate_wild_do_table=a.%" || c.LastError != "duplicate" || !c.SSL || c.SourceID != 4 {
		t.Errorf("got %+v", c)
	}
	c = readChannel(Row{"channel_name": "", "source_host": "h", "relay_source_log_file": "b.8", "replica_io_running": "Yes", "replica_sql_running": "Yes",
		"auto_position": "0", "seconds_behind_source": "3"})
	if c.File != "b.8" || !c.Receiver || !c.Applier || c.AutoPosition || c.Lag == nil || *c.Lag != 3 {
		t.Errorf("got %+v", c)
	}
}

func TestReadOnlyBack(t *testing.T) {
	for want, found := range map[string]readOnlyArgs{
		"SET GLOBAL super_read_only = 'OFF'; SET GLOBAL read_only = 'OFF'": {ReadOnly: "OFF", Super: "OFF"},
		"SET GLOBAL super_read_only = 'OFF'; SET GLOBAL read_only = 'ON'":  {ReadOnly: "ON", Super: "OFF"},
		"SET GLOBAL read_only = 'ON'; SET GLOBAL super_read_only = 'ON'":   {ReadOnly: "ON", Super: "ON"},
		"SET GLOBAL read_only = 'NO_LOCK'":                                 {ReadOnly: "NO_LOCK"},
	} {
		if got := strings.Join(readOnlyBack(found), "; "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 1, time.Second: 1, 1500 * time.Millisecond: 2, 61 * time.Second: 61} {
		if got := seconds(d); got != want {
			t.Errorf("%v: got %d", d, got)
		}
	}
}

func TestQuoting(t *testing.T) {
	if got := Quote(`a'b\c`); got != `'a\'b\\c'` {
		t.Errorf("got %s", got)
	}
	e := database.Endpoint{Product: database.MariaDB, Socket: "/run/my sql.sock", User: "it's", OptionFile: "/etc/c.cnf"}
	if got, want := client(e), `mariadb --defaults-extra-file=/etc/c.cnf --socket='/run/my sql.sock' --user='it'\''s'`; got != want {
		t.Errorf("got %s", got)
	}
}

func TestLogPositions(t *testing.T) {
	current, written := logPositions("---\nLOG\n---\nLog sequence number 491710\nLog flushed up to   444793\nPages flushed up to 44794\n")
	if current != 491710 || written != 444793 {
		t.Errorf("got %d, %d", current, written)
	}
	current, written = logPositions("Log sequence number          19823\nLog buffer assigned up to    19823\nLog flushed up to            19820\n")
	if current != 19823 || written != 19820 {
		t.Errorf("got %d, %d", current, written)
	}
}
