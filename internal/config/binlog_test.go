package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBinlog(t *testing.T) {
	c, err := load(t, "instances:\n  shop:\n    binlog: {directory: /srv/logs, failover_after: 5s}\n  other:\n")
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
}

func TestFaultsOfBinlog(t *testing.T) {
	_, err := load(t, `instances:
  shop:
    binlog:
      directory: relative
      servers: [db2:3306, "db3", "db4:0"]
      failover_after: soon
`)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"line 4: instance shop: binlog: the directory must be an absolute path", `line 5: instance shop: binlog: write each server as HOST:PORT, not "db3"`,
		`not "db4:0"`, "line 5: instance shop: binlog: other servers want an account", `line 6: "soon" is no duration`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in:\n%v", want, err)
		}
	}
}
