//go:build vm

package vm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestMachine is one story: each part finds the machine as the one before it left it.
func TestMachine(t *testing.T) {
	m := newMachine(t)
	m.boot()
	m.part("installed", m.prepare)
	m.part("every mode with a systemd unit", m.modes)
	m.part("a restored server", m.restored)
	for _, c := range powerCuts {
		m.part(fmt.Sprintf("power cut at %s of %s%s", c.boundary, c.mode, c.with), func() { m.powerCut(c) })
	}
	m.part("a service that does not start is shown", m.shown)
	m.part("clock set while a backup runs", m.clockInside)
	m.part("clock set between backups", m.clockBetween)
}

// modes takes plain backups: the unit is found by itself, stopped and started again, and a read_only that was set by hand survives
// that, as the restart is our own.
func (m *machine) modes() {
	if said := m.sh("systemctl start holdstill-recover && journalctl --no-pager -o cat -u holdstill-recover"); !strings.Contains(said, "nothing was left behind") {
		m.t.Errorf("without a run to take back the boot unit says: %s", said)
	}
	m.write()
	var dry struct{ Plan plan.Plan }
	if err := json.Unmarshal([]byte(m.sh("holdstill --json backup --mode cold --dry-run")), &dry); err != nil {
		m.t.Fatal(err)
	}
	if s := dry.Plan.Service; s == nil || s.Kind != "systemd" || s.Name != "mariadb.service" {
		m.t.Errorf("the service that was found: %+v", s)
	}
	m.t.Logf("hot: %+v", m.backup("--mode", "hot").Window)
	m.sql("SET GLOBAL read_only = ON")
	before := m.sh("systemctl show -P MainPID mariadb")
	m.t.Logf("cold: %+v", m.backup("--mode", "cold").Window)
	if after := m.sh("systemctl show -P MainPID mariadb"); after == before || after == "0" {
		m.t.Errorf("the main process of the unit was %s and is %s", before, after)
	}
	if m.sql("SELECT @@global.read_only") != "1" {
		m.t.Error("read_only was not put back")
	}
	m.sql("SET GLOBAL read_only = OFF")
	m.clean()
}

// restored makes a running server from the cold point, beside the one of the unit.
func (m *machine) restored() {
	var result restore.Result
	if err := json.Unmarshal([]byte(m.sh("holdstill --json restore latest --datadir /data/restored --start")), &result); err != nil {
		m.t.Fatal(err)
	}
	if rows := m.number(m.sh("mariadb -BN -S " + result.Socket + " -e 'SELECT COUNT(*) FROM shop.orders'")); rows < 20 {
		m.t.Errorf("%d rows in the restored server", rows)
	}
	m.sh(result.Stop)
	m.sh("btrfs -q subvolume delete /data/restored && rm -r /data/restored.conf")
	m.clean()
}

// powerCut is where the power goes, and what was found before.
type powerCut struct {
	boundary, mode string
	options        string // a line of the option file, written since the server started
	byHand         string // what somebody has set at run time
	disabled       bool   // the unit is not enabled: nobody but us starts it at boot
	with           string // what of these is worth a word in the name
	seen           string // a script that proves that the run had come so far
	ask, want      string // what the server has to say after the boot
}

const (
	held    = `! timeout -s KILL 3 mariadb -e 'INSERT INTO shop.probe VALUES (1)'`
	cutMade = `btrfs subvolume list /data | grep -q "path .holdstill/$(basename /var/lib/holdstill/runs/*.ledger .ledger)-s"`
	stopped = `! systemctl is-active -q mariadb`

	readOnly = "SELECT @@global.read_only"
	threads  = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'system user' AND COMMAND IN ('Connect', 'Slave_IO', 'Slave_SQL')"
	// Nobody listens there, so the receiver tries for ever, which is as good as running: it is a thread that somebody has started.
	follow  = "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'nobody', MASTER_LOG_FILE = 'binlog.000001', MASTER_LOG_POS = 4; START SLAVE"
	halfway = `[ $(mariadb -BN -e "` + threads + `") = 1 ]`
)

// The option file is right after a reboot, whatever was found before: a source that was promoted by hand comes up read-only, as
// whoever wrote its file wants it, and not as the ledger has it.
var powerCuts = []powerCut{
	{boundary: "hold.acted", mode: "hot", seen: held, ask: readOnly, want: "0"},
	{boundary: "cut.acted", mode: "hot", seen: cutMade, ask: readOnly, want: "0"},
	{boundary: "readonly.acted", mode: "cold", options: "read-only = ON", with: ", writable by hand", seen: `[ $(mariadb -BN -e '` + readOnly + `') = 1 ]`, ask: readOnly, want: "1"},
	{boundary: "service.acted", mode: "cold", byHand: "SET GLOBAL read_only = ON", with: ", read-only by hand", seen: stopped, ask: readOnly, want: "0"},
	{boundary: "service.acted", mode: "cold", disabled: true, with: ", unit not enabled", seen: stopped, ask: readOnly, want: "0"},
	{boundary: "service.undo", mode: "cold", seen: stopped + " && " + cutMade, ask: readOnly, want: "0"},
	{boundary: "replication.acted", mode: "locked", byHand: follow, with: ", threads start at boot", seen: halfway, ask: threads, want: "2"},
	{boundary: "cut.acted", mode: "locked", byHand: follow, options: "skip-slave-start", with: ", skip-slave-start", seen: halfway + " && " + cutMade, ask: threads, want: "0"},
}

func (m *machine) powerCut(c powerCut) {
	m.sh(fmt.Sprintf(`printf '[mariadbd]\n%s\n' >/etc/mysql/mariadb.conf.d/99-options.cnf`, c.options))
	if c.disabled {
		m.sh("systemctl disable mariadb")
		defer func() { m.sh("systemctl enable mariadb") }()
	}
	m.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = OFF")
	m.write()
	m.sql(c.byHand)
	m.sh("sync")
	m.hang(c.boundary, c.mode)
	m.sh(c.seen)
	m.cut()
	acknowledged := m.acknowledged()
	m.boot()
	m.back(acknowledged)
	if now := m.sql(c.ask); now != c.want {
		m.t.Errorf("%s: %s, and by the option file it has to be %s", c.ask, now, c.want)
	}
	m.backup()
	m.clean()
}

// shown kills a run that has stopped the service, and keeps the service from starting: the unit tries again, gives up, and can be seen.
// When the cause is gone, recover does what it could not do before. Twice instead of five times: each try waits half a minute for the
// server, to put its read_only back.
func (m *machine) shown() {
	m.sql("STOP SLAVE; RESET SLAVE ALL")
	m.sh(`set -e
		mkdir -p /run/systemd/system/holdstill-recover.service.d
		printf '[Unit]\nStartLimitBurst=2\n[Service]\nRestartSec=1s\n' >/run/systemd/system/holdstill-recover.service.d/quick.conf
		systemctl daemon-reload
		systemctl reset-failed holdstill-recover`)
	m.run("HOLDSTILL_FAULT=service.acted:kill holdstill backup --mode cold", "")
	m.sh("systemctl mask --runtime mariadb")
	m.sh("systemctl start --no-block holdstill-recover")
	m.await("the unit to give up", "systemctl --failed --no-legend | grep holdstill-recover")
	said := m.sh("journalctl --no-pager -o cat -u holdstill-recover")
	if tries := strings.Count(said, "hint: type: systemctl start mariadb.service"); tries != 2 {
		m.t.Errorf("it tried %d times: %s", tries, said)
	}
	m.sh("systemctl unmask --runtime mariadb; systemctl reset-failed; holdstill recover")
	if state := m.sh("systemctl is-active mariadb || true"); state != "active" {
		m.t.Errorf("mariadb is %s", state)
	}
	m.clean()
}
