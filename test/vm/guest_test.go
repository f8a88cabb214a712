//go:build vm

package vm

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
)

// prepare installs Holdstill and moves the server's data to a btrfs subvolume on the data disk, as a person would.
func (m *machine) prepare() {
	m.t.Helper()
	m.sh(`set -e
		mount -o ro /dev/disk/by-id/virtio-tools /mnt
		cp -r --preserve=mode /mnt/usr /
		umount /mnt
		systemctl daemon-reload
		systemctl enable holdstill-recover.service
		systemctl stop mariadb
		mkfs.btrfs -q -L data /dev/disk/by-id/virtio-data
		mkdir /data
		echo 'LABEL=data /data btrfs noatime,subvolid=5 0 0' >>/etc/fstab
		echo 'LABEL=data /var/lib/mysql btrfs noatime,subvol=@mysql 0 0' >>/etc/fstab
		udevadm settle
		systemctl daemon-reload
		mount /data
		btrfs -q subvolume create /data/@mysql
		cp -a /var/lib/mysql/. /data/@mysql
		chown --reference=/var/lib/mysql /data/@mysql
		mount /var/lib/mysql
		systemctl start mariadb
		sync`)
	m.sql(`CREATE DATABASE shop; CREATE TABLE shop.orders (n INT PRIMARY KEY, what VARCHAR(40)); CREATE TABLE shop.probe (n INT);
		CREATE USER app@localhost IDENTIFIED BY 'app'; GRANT ALL ON shop.* TO app@localhost`)
}

func (m *machine) sql(statements string) string {
	m.t.Helper()
	out := m.run("mariadb -BN", statements)
	if out.Code != 0 {
		m.t.Fatalf("%s\n%s", statements, out.Stderr)
	}
	return strings.TrimSpace(string(out.Stdout))
}

// write starts a writer of numbered rows, who tells each commit out of the machine as soon as the server has acknowledged it.
// It is an account that read_only stops, and it ends with its connection.
func (m *machine) write() {
	m.t.Helper()
	next := m.number(m.sql("SELECT COALESCE(MAX(n), 0) + 1 FROM shop.orders"))
	m.sh(fmt.Sprintf(`systemctl stop writer 2>/dev/null; systemd-run -q --collect --unit=writer bash -c '
		for ((i = %d;; i++)); do echo "INSERT INTO orders VALUES ($i, UUID()); SELECT $i;" || exit; done |
		mariadb -BNn -u app -papp shop >/dev/virtio-ports/commits'`, next))
	m.await("the first commits", fmt.Sprintf("[ $(mariadb -BN -e 'SELECT COUNT(*) FROM shop.orders WHERE n >= %d') -gt 20 ]", next))
}

// acknowledged is the last row that the writer of this boot has told.
func (m *machine) acknowledged() int {
	m.t.Helper()
	content, err := os.ReadFile(m.commits())
	if err != nil {
		m.t.Fatal(err)
	}
	lines := strings.Fields(string(content[:strings.LastIndexByte(string(content), '\n')+1]))
	if len(lines) == 0 {
		return 0
	}
	return m.number(lines[len(lines)-1])
}

func (m *machine) number(text string) int {
	m.t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// backup takes a point, which must be application-consistent.
func (m *machine) backup(args ...string) *catalog.Point {
	m.t.Helper()
	return m.point(m.run("holdstill --json backup "+strings.Join(args, " "), ""))
}

func (m *machine) point(out outcome) *catalog.Point {
	m.t.Helper()
	p := &catalog.Point{}
	if err := json.Unmarshal(out.Stdout, p); err != nil || out.Code != 0 || p.Consistency != catalog.Application {
		m.t.Fatalf("exit code %d, %v\n%s%s", out.Code, err, out.Stdout, out.Stderr)
	}
	return p
}

func (m *machine) show(point string) *catalog.Point {
	m.t.Helper()
	return m.point(m.run("holdstill --json points show "+point, ""))
}

// hang starts a backup that hangs at a boundary, and waits until it is there.
func (m *machine) hang(boundary, mode string) {
	m.t.Helper()
	m.sh(fmt.Sprintf(`rm -f /run/trace; systemd-run -q --collect --unit=backup -E HOLDSTILL_FAULT=%s:hang -E HOLDSTILL_FAULT_TRACE=/run/trace \
		holdstill backup --mode %s --max-stall 5m`, boundary, mode))
	m.await(boundary, fmt.Sprintf(`systemctl is-active -q backup || { echo the backup has ended; journalctl --no-pager -u backup; }; grep -qx %s /run/trace`, boundary))
}

// clean wants nothing of a run to be left: no ledger, and no snapshot but those of points.
func (m *machine) clean() {
	m.t.Helper()
	if left := m.sh("ls -A /var/lib/holdstill/runs"); left != "" {
		m.t.Errorf("ledgers are left: %s", left)
	}
	points := m.sh("holdstill --json points list")
	for line := range strings.Lines(m.sh("btrfs subvolume list /data")) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), " path ")
		if strings.HasPrefix(name, ".holdstill/") && !strings.Contains(points, path.Base(name)) {
			m.t.Errorf("the snapshot %s belongs to no point", name)
		}
	}
}

// back is what has to be so after the machine came back, with nobody having typed anything.
func (m *machine) back(acknowledged int) {
	m.t.Helper()
	if state := m.sh("systemctl is-system-running || systemctl --failed --no-legend"); state != "running" {
		m.t.Errorf("after the boot: %s", state)
	}
	if state := m.sh("systemctl is-active mariadb || true"); state != "active" {
		m.t.Fatalf("mariadb is %s", state)
	}
	said := m.sh("journalctl --no-pager -o cat -b -u holdstill-recover")
	if !strings.Contains(said, "taken back: ") || m.sh("systemctl show -P Result holdstill-recover") != "success" {
		m.t.Errorf("the boot unit said: %s", said)
	}
	m.t.Log(said)
	m.clean()
	rows, last := 0, 0
	if _, err := fmt.Sscan(m.sql("SELECT COUNT(*), COALESCE(MAX(n), 0) FROM shop.orders"), &rows, &last); err != nil {
		m.t.Fatal(err)
	}
	if rows != last || last < acknowledged {
		m.t.Errorf("%d rows up to %d, and %d were acknowledged", rows, last, acknowledged)
	}
	m.t.Logf("%d commits acknowledged, %d rows", acknowledged, rows)
}

// sane wants figures that a clock which was set meanwhile has not spoilt.
func (m *machine) sane(p *catalog.Point, longest time.Duration) {
	m.t.Helper()
	limit := float64(longest.Milliseconds())
	w := p.Window
	figures := map[string]float64{"stall": w.StallMS, "lock": w.LockMS, "freeze": w.FreezeMS, "snapshot": w.SnapshotMS}
	for _, s := range p.Stages {
		figures["stage "+s.Name] = s.MS
	}
	for name, ms := range figures {
		if ms < 0 || ms > limit {
			m.t.Errorf("%s: %.1f ms", name, ms)
		}
	}
}
