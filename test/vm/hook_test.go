//go:build vm

package vm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/restore"
)

// TestHypervisor is the other story: qemu itself is the host that takes the snapshot, of a guest whose file systems are all frozen.
func TestHypervisor(t *testing.T) {
	m := newMachine(t)
	t.Cleanup(func() { // before the machine tells, for which it must write
		if t.Failed() && m.agent != nil {
			var n int
			_ = m.agent.call("guest-fsfreeze-thaw", nothing, &n)
		}
	})
	m.boot()
	m.part("installed", m.prepareGuest)
	m.part("snapshot by the hypervisor", m.snapshotByHost)
	m.part("thaw never comes", m.hostDies)
}

var nothing = map[string]any{}

// prepareGuest installs Holdstill and its hook, moves the server's data to a disk of ext4, and restarts the agent.
func (m *machine) prepareGuest() {
	m.t.Helper()
	m.sh(`set -e
		mount -o ro /dev/disk/by-id/virtio-tools /mnt
		cp -r --preserve=mode /mnt/usr /
		umount /mnt
		systemctl stop mariadb
		mkfs.ext4 -q -L data /dev/disk/by-id/virtio-data
		mkdir /data
		echo 'LABEL=data /data ext4 noatime 0 0' >>/etc/fstab
		udevadm settle
		systemctl daemon-reload
		mount /data
		cp -a /var/lib/mysql /data/mysql
		printf '[mariadbd]\ndatadir = /data/mysql\n' >/etc/mysql/mariadb.conf.d/99-data.cnf
		systemctl start mariadb`)
	m.sql(`CREATE DATABASE shop; CREATE TABLE shop.orders (n INT PRIMARY KEY, what VARCHAR(40));
		CREATE USER app@localhost IDENTIFIED BY 'app'; GRANT ALL ON shop.* TO app@localhost`)
	var said struct{ Faults []any }
	if err := json.Unmarshal([]byte(m.sh("holdstill --json hook install qemu")), &said); err != nil || len(said.Faults) > 0 {
		m.t.Fatalf("%v %v", said.Faults, err)
	}
	m.restartAgent()
}

// restartAgent restarts it from beside: with itself it ends all that it started. Who speaks to it meanwhile may lose the line.
func (m *machine) restartAgent() {
	m.t.Helper()
	const ask = "systemctl show -P MainPID qemu-guest-agent"
	before := m.sh(ask)
	m.sh("sync; systemd-run -q --on-active=1 systemctl restart qemu-guest-agent")
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(3 * time.Second) {
		_ = m.agent.conn.Close()
		m.reach()
		if now, err := m.agent.run(ask, ""); err == nil && strings.TrimSpace(string(now.Stdout)) != before {
			return
		}
	}
	m.t.Fatal("the agent was not restarted")
}

// told runs one command of the agent about the file systems, and how long it took.
func (m *machine) told(command string) (count int, took time.Duration, err error) {
	begun := time.Now()
	err = m.agent.call("guest-fsfreeze-"+command, nothing, &count)
	return count, time.Since(begun), err
}

// status is what the agent believes.
func (m *machine) status() (status string) {
	m.t.Helper()
	if err := m.agent.call("guest-fsfreeze-status", nothing, &status); err != nil {
		m.t.Fatal(err)
	}
	return status
}

// snapshotByHost freezes everything, takes an external snapshot of both disks at once, thaws, puts the frozen disk into the machine and
// restores from it.
func (m *machine) snapshotByHost() {
	m.write()
	frozen, freeze, err := m.told("freeze")
	if err != nil || frozen < 2 || m.status() != "frozen" {
		m.t.Fatalf("%d file systems, %v", frozen, err)
	}
	time.Sleep(time.Second) // the last acknowledgement may be on its way
	acknowledged := m.acknowledged()
	begun := time.Now()
	m.qmp("transaction", map[string]any{"actions": []any{m.overlay("system"), m.overlay("data")}})
	snapshot := time.Since(begun)
	if still := m.acknowledged(); still != acknowledged {
		m.t.Errorf("%d commits were acknowledged while everything was frozen", still-acknowledged)
	}
	if n, thaw, err := m.told("thaw"); err != nil || n != frozen {
		m.t.Fatalf("%d file systems of %d, %v", n, frozen, err)
	} else {
		m.t.Logf("%d file systems; the agent's freeze %d ms, qemu's snapshot %d ms, thaw %d ms", frozen, freeze.Milliseconds(), snapshot.Milliseconds(), thaw.Milliseconds())
	}
	p := m.show("latest")
	if p.Snapshot.Provider != "external" {
		m.t.Fatalf("%+v", p)
	}
	m.await("commits after the thaw", fmt.Sprintf("[ $(mariadb -BN -e 'SELECT MAX(n) FROM shop.orders') -gt %d ]", acknowledged+20))
	m.attach("data.qcow2")
	m.stands(p, acknowledged)
	m.t.Logf("stall %.1f ms, lock %.1f ms", p.Window.StallMS, p.Window.LockMS)
}

// overlay makes a disk's file a base that nobody writes to any more.
func (m *machine) overlay(disk string) map[string]any {
	return map[string]any{"type": "blockdev-snapshot-sync", "data": map[string]any{
		"device": disk, "snapshot-file": m.file(disk + "-after.qcow2"), "format": "qcow2"}}
}

// attach puts a copy of a frozen disk into the machine, while it runs.
func (m *machine) attach(base string) {
	m.t.Helper()
	m.host("qemu-img", "convert", "-U", "-O", "qcow2", m.file(base), m.file("frozen.qcow2"))
	m.qmp("blockdev-add", map[string]any{"driver": "qcow2", "node-name": "frozen", "file": map[string]any{"driver": "file", "filename": m.file("frozen.qcow2")}})
	m.qmp("device_add", map[string]any{"driver": "virtio-blk-pci", "drive": "frozen", "serial": "frozen", "bus": "bay", "id": "frozen"})
	m.await("the attached disk", "[ -b /dev/disk/by-id/virtio-frozen ]")
}

// stands restores the point from the attached disk: exactly what was acknowledged when everything was frozen, at the recorded position.
func (m *machine) stands(p *catalog.Point, acknowledged int) {
	m.t.Helper()
	var result restore.Result
	if err := json.Unmarshal([]byte(m.sh("holdstill --json restore "+p.ID+" --disk /dev/disk/by-id/virtio-frozen --datadir /data/restored --start")), &result); err != nil {
		m.t.Fatal(err)
	}
	if p.Position.GTID == "" || result.Position.GTID != p.Position.GTID {
		m.t.Errorf("the restored server stands at %q, the point says %q", result.Position.GTID, p.Position.GTID)
	}
	want := fmt.Sprintf("%d\t%d", acknowledged, acknowledged)
	if got := m.sh("mariadb -BN -S " + result.Socket + " -e 'SELECT COUNT(*), MAX(n) FROM shop.orders'"); got != want {
		m.t.Errorf("rows and last row restored: %q, acknowledged: %q", got, want)
	}
	m.sh(result.Stop)
	m.sh("rm -r /data/restored*")
}

// What the pulse tells: that it asks for what the hold keeps from it, and that it has got it.
const asks, got = 1000000, 1000001

// hostDies freezes, and thaws only long after the deadline: the server is let go at the deadline, while everything is still frozen, and
// the thaw says what the snapshot is worth. The pulse begins when everything is frozen, and does what the hold stops, and the freeze does not.
// It begins a line: the writer may have been stopped within one.
func (m *machine) hostDies() {
	m.sql("CREATE TABLE shop.pulse (n INT) ENGINE=MEMORY") // others may want to write when they are opened
	m.sh(fmt.Sprintf(`systemctl stop writer
		mkdir -p /etc/holdstill
		printf 'instances:\n  local: {socket: /run/mysqld/mysqld.sock}\nhooks:\n  qemu: {hold: 10s}\n' >/etc/holdstill/holdstill.yaml
		systemd-run -q --collect --unit=writer bash -c '
			until [ -e /run/qga.state.isfrozen ]; do sleep 0.1; done
			{ echo; echo "SELECT %d; LOCK TABLES shop.pulse WRITE; SELECT %d" | mariadb -BNn; } >/dev/virtio-ports/commits'`, asks, got))
	points := m.sh("holdstill --json points list | sha256sum")
	if _, _, err := m.told("freeze"); err != nil {
		m.t.Fatal(err)
	}
	begun := time.Now()
	asked := m.pulse(asks, begun)
	released := m.pulse(got, begun)
	if status := m.status(); asked > 6*time.Second || released < 8*time.Second || released > 20*time.Second || status != "frozen" {
		m.t.Errorf("asked after %s, released after %s, and the agent says %s", asked, released, status)
	}
	if _, _, err := m.told("thaw"); err == nil || !strings.Contains(err.Error(), "hook") {
		m.t.Errorf("the thaw says %v", err)
	}
	if status := m.status(); status != "thawed" {
		m.t.Error(status)
	}
	if said := m.sh("cat /var/log/qga-fsfreeze-hook.log"); !strings.Contains(said, "expired: everything was released after 10s") {
		m.t.Error(said)
	}
	if now := m.sh("holdstill --json points list | sha256sum"); now != points {
		m.t.Error("a point was recorded")
	}
	if left := m.sh("ls -A /var/lib/holdstill/runs"); left != "" {
		m.t.Errorf("ledgers are left: %s", left)
	}
	m.sh(`systemctl stop writer; mariadb -e "INSERT INTO shop.orders VALUES (-1, 'afterwards')"; touch /root/writable`)
	m.t.Logf("released %.1f s after the freeze", released.Seconds())
}

// pulse waits until the pulse tells this, and returns when that was.
func (m *machine) pulse(tells int, begun time.Time) time.Duration {
	m.t.Helper()
	for m.acknowledged() < tells && time.Since(begun) < time.Minute {
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begun)
}
