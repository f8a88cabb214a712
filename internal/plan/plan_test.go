package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// source is a plain source on one btrfs subvolume; each test changes what it is about.
func source() Input {
	unit := &snapshot.Unit{Provider: "btrfs", Key: "u1", Why: "btrfs subvolume /srv"}
	at := func(p database.Purpose, path string) Offer {
		return Offer{Purpose: p, Place: mount.Place{Path: path, Real: path, MountPoint: "/srv"}, Unit: unit}
	}
	return Input{
		Facts:  &database.Facts{Role: database.Source, LogBin: true, FlushLog: 1, SyncBinlog: 1, Process: database.Process{PID: 7}},
		Offers: []Offer{at(database.DataDir, "/srv/data"), at(database.RedoLog, "/srv/data"), at(database.BinaryLog, "/srv/data/binlog")},
		Policy: Policy{Mode: database.Auto, Require: catalog.Application, MaxStall: time.Second},
		RunDir: mount.Place{MountPoint: "/run"},
	}
}

func replica() Input {
	in := source()
	in.Facts.Role = database.Replica
	in.Facts.Channels = []database.Channel{{Host: "10.0.0.1", Port: 3306, Receiver: true, Applier: true}}
	return in
}

func move(in *Input, p database.Purpose, u *snapshot.Unit, whyNot ...string) {
	for i := range in.Offers {
		if in.Offers[i].Purpose == p {
			in.Offers[i].Unit, in.Offers[i].WhyNot = u, whyNot
			in.Offers[i].Place.Real = "/other/" + string(p)
		}
	}
}

func TestAutoFollowsTheRole(t *testing.T) {
	if p := Make(source()); p.Mode != database.Hot || !p.OK() {
		t.Errorf("source: %+v", p)
	}
	if p := Make(replica()); p.Mode != database.Locked || !p.OK() {
		t.Errorf("replica: %+v", p)
	}
}

// Keyrings lie in /etc, and their manifests beside the server's programs: no file system is cut for them, and none stands in the way.
func TestKeyringOutside(t *testing.T) {
	root := &snapshot.Unit{Provider: "image", Key: "root", Freeze: "/"}
	for name, unit := range map[string]*snapshot.Unit{"that nobody can cut": nil, "that could be cut": root} {
		in := source()
		at := func(path string, u *snapshot.Unit) Offer {
			return Offer{Purpose: database.Keyring, Place: mount.Place{Path: path, Real: path}, Unit: u}
		}
		in.Offers = append([]Offer{at("/etc/keys", unit), at("/srv/data/mysqld.my", in.Offers[0].Unit)}, in.Offers...)
		p := Make(in)
		if !p.OK() || len(p.Units) != 1 || len(p.Freeze) > 0 || len(p.Paths) != 5 {
			t.Errorf("on a volume %s: %+v", name, p)
		}
		if text := strings.Join(p.Warnings, " "); !strings.Contains(text, "/etc/keys.") {
			t.Errorf("on a volume %s: %s", name, text)
		}
		for _, l := range p.Paths {
			if (l.Unit == "") != (l.Place.Real == "/etc/keys") {
				t.Errorf("on a volume %s: %+v", name, l)
			}
		}
	}
}

func TestHotReplicaNeedsAnExactPosition(t *testing.T) {
	for _, c := range []struct {
		workers int64
		gtid    bool
		want    bool
	}{{4, false, false}, {4, true, true}, {0, false, true}} {
		in := replica()
		in.Policy.Mode = database.Hot
		in.Facts.ApplierWorkers, in.Facts.Channels[0].AutoPosition = c.workers, c.gtid
		if p := Make(in); p.OK() != c.want {
			t.Errorf("%+v: %+v", c, p.Problems)
		}
	}
}

func TestEveryDecisionHasItsReason(t *testing.T) {
	for _, r := range Make(replica()).Reasons {
		if r.Topic == "" || r.Decision == "" || r.Because == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestProblems(t *testing.T) {
	other := &snapshot.Unit{Provider: "btrfs", Key: "u2", Why: "btrfs subvolume /other"}
	svc := &service.Service{Kind: service.SysV, Name: "mariadb"}
	for name, c := range map[string]struct {
		change func(*Input)
		want   string // part of the problem; "" for none
	}{
		"plain":                        {func(*Input) {}, ""},
		"redo on another volume":       {func(in *Input) { move(in, database.RedoLog, other) }, "lie on different volumes"},
		"redo on another volume, cold": {func(in *Input) { move(in, database.RedoLog, other); in.Policy.Mode = database.Cold; in.Service = svc }, ""},
		"binary log on another volume": {func(in *Input) { move(in, database.BinaryLog, other) }, ""},
		"nobody can cut":               {func(in *Input) { move(in, database.DataDir, nil, "btrfs: it is ext4") }, "no provider can cut"},
		"locked without a source":      {func(in *Input) { in.Policy.Mode = database.Locked }, "has no source"},
		"cold without a service":       {func(in *Input) { in.Policy.Mode = database.Cold; in.NoService = "none found" }, "none found"},
		"a privilege is missing":       {func(in *Input) { in.Facts.Missing = []string{"GRANT RELOAD ON *.* TO x"} }, "lacks a privilege"},
		"cold would start what was stopped": {func(in *Input) {
			*in = replica()
			in.Policy.Mode, in.Service = database.Cold, svc
			in.Facts.Channels[0].Applier = false
		}, "a start of the service would start it"},
		"the same with skip-slave-start": {func(in *Input) {
			*in = replica()
			in.Policy.Mode, in.Service, in.Facts.SkipStart = database.Cold, svc, true
			in.Facts.Channels[0].Applier = false
		}, ""},
		"the run directory would freeze": {func(in *Input) {
			in.Offers[0].Unit.Freeze = "/srv"
			in.RunDir.MountPoint = "/srv"
		}, "would be frozen"},
	} {
		t.Run(name, func(t *testing.T) {
			in := source()
			c.change(&in)
			p := Make(in)
			var got []string
			for _, problem := range p.Problems {
				got = append(got, problem.What)
				if problem.Remedy == "" {
					t.Errorf("no remedy for %q", problem.What)
				}
			}
			text := strings.Join(got, "; ")
			if (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
				t.Errorf("problems %q, want %q", text, c.want)
			}
			if (text == "") != (p.Consistency == catalog.Application) {
				t.Errorf("consistency %q with problems %q", p.Consistency, text)
			}
		})
	}
}

func TestFreezesEachMountOnce(t *testing.T) {
	in := source()
	unit := &snapshot.Unit{Provider: "image", Key: "i", Freeze: "/srv", Why: "image /outer/disk.img"}
	for i := range in.Offers {
		in.Offers[i].Unit = unit
	}
	if p := Make(in); len(p.Freeze) != 1 || len(p.Units) != 1 || !p.OK() {
		t.Errorf("%+v", p)
	}
}

func TestPredictionIsTheMedianOfEarlierPoints(t *testing.T) {
	in := source()
	in.Earlier = []catalog.Window{{StallMS: 12}, {StallMS: 900}, {StallMS: 14}}
	if p := Make(in); !strings.HasPrefix(p.PredictedStall, "about 14 ms") {
		t.Error(p.PredictedStall)
	}
}

// TestDisksOfAHost are cut one after the other: what is to be of one moment has to be frozen.
func TestDisksOfAHost(t *testing.T) {
	for frozenBy, want := range map[string]bool{"aws": true, "": false} {
		in := source()
		data := &snapshot.Unit{Provider: "external", Key: "8:1", Group: "the host's snapshot", FrozenBy: "aws"}
		redo := &snapshot.Unit{Provider: "external", Key: "8:2", Group: "the host's snapshot", FrozenBy: frozenBy}
		move(&in, database.DataDir, data)
		move(&in, database.BinaryLog, data)
		move(&in, database.RedoLog, redo)
		if p := Make(in); p.OK() != want {
			t.Errorf("the redo log frozen by %q: %+v", frozenBy, p.Problems)
		}
	}
}
