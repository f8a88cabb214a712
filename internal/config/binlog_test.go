package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBinlog(t *testing.T) {
	c, err := load(t, "instances:\n  shop:\n    binlog: {directory: /srv/logs, failover_after: 5s, ship: false, ship_every: 30s, ship_size: 1MiB}\n  other:\n")
	if err != nil {
		t.Fatal(err)
	}
	d := Dirs{State: "/state", Run: "/run"}
	if got := d.BinlogArchive(c.Instances["shop"]); got != "/srv/logs" {
		t.Errorf("archived in %s", got)
	}
	if got := d.BinlogArchive(c.Instances["other"]); got != filepath.Join("/state", "binlog", "other") {
		t.Errorf("archived in %s", got)
	}
	if time.Duration(c.Instances["shop"].Binlog.FailoverAfter) != 5*time.Second {
		t.Errorf("%+v", c.Instances["shop"].Binlog)
	}
	if b := c.Instances["shop"].Binlog; b.Ships() || b.ShipSize != 1<<20 || time.Duration(b.ShipEvery) != 30*time.Second || !c.Instances["other"].Binlog.Ships() {
		t.Errorf("%+v", b)
	}
}

func TestFaultsOfBinlog(t *testing.T) {
	_, err := load(t, `instances:
  shop:
    binlog:
      directory: relative
      servers: [db2:3306, "db3", "db4:0"]
      failover_after: soon
      ship_every: 10ms
      ship_size: much
  other:
    binlog: {ship_size: 1KiB, keep_on_server: never}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"line 4: instance shop: binlog: the directory must be an absolute path", `line 5: instance shop: binlog: write each server as HOST:PORT, not "db3"`,
		`not "db4:0"`, "line 5: instance shop: binlog: other servers want an account", `line 6: "soon" is no duration`,
		"line 7: instance shop: binlog: logs are shipped every 1s at the soonest", `line 8: "much" is no size`, "line 10: instance other: binlog: a ship_size is from 64KiB", `line 10: "never" is no duration`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in:\n%v", want, err)
		}
	}
}
