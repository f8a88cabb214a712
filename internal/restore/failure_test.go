package restore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/restore/restoretest"
	"github.com/holdstill/holdstill/internal/snapshot/btrfs"
)

// victim tells a copy of the test program to restore, and at which stage to die.
type victim struct {
	Request restore.Request
	Ledgers string
	Stage   string
	Nth     int
}

// TestVictim is not a test: it is the process that TestKilled kills.
func TestVictim(t *testing.T) {
	var v victim
	if os.Getenv("RESTORE_VICTIM") == "" {
		t.Skip("nothing is left untested: this is the process that TestKilled starts and kills, and it runs only as that")
	}
	must(t, json.Unmarshal([]byte(os.Getenv("RESTORE_VICTIM")), &v))
	k := restoretest.Kit{Provider: btrfs.New(), Registry: restore.Undoers(), Ledgers: v.Ledgers}
	d := deps(k)
	d.Progress = func(e restore.Event) {
		if e.Stage == v.Stage {
			if v.Nth--; v.Nth == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	run := k.Run(t, "victim")
	_, err := restore.Restore(t.Context(), run, v.Request, d)
	t.Fatalf("it was not killed: %v", err)
}

// After a kill -9 at any stage, the ledger alone takes everything back: files, and servers that survived their maker.
func TestKilled(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		vol := volume(t, l)
		s := live(t, l, b, vol, "a")
		k := kit(t, l)
		point := k.Point(t, s, nil)
		for _, c := range []struct {
			stage string
			nth   int
			how   string
		}{{"place", 1, "clone"}, {"place", 1, "copy"}, {"place", 2, "copy"}, {"config", 1, "clone"}, {"scratch", 2, "clone"}, {"server", 1, "clone"}} {
			t.Run(c.stage+" "+c.how, func(t *testing.T) {
				dir := filepath.Join(vol.Dir, "gone")
				if c.how == "copy" {
					dir = filepath.Join(l.Dir(), "new", "gone")
				}
				// an empty directory that was there stays, as it was
				must(t, os.MkdirAll(dir, 0o711))
				must(t, os.Chmod(dir, 0o711))
				killed(t, victim{Request: restore.Request{Point: point, Datadir: dir, Start: true, Account: account()}, Ledgers: k.Ledgers, Stage: c.stage, Nth: c.nth})
				k.TakeBack(t)
				if left := k.TakeBack(t); len(left) > 0 {
					t.Errorf("a second time: %+v", left)
				}
				if got := names(t, dir); got != "" {
					t.Errorf("left in the directory: %q", got)
				}
				info, err := os.Stat(dir)
				must(t, err)
				if info.Mode().Perm() != 0o711 || info.Sys().(*syscall.Stat_t).Uid != 0 {
					t.Errorf("the directory is now %v", info.Mode())
				}
				must(t, os.Remove(dir))
				gone(t, dir)
			})
		}
		if _, err := s.Value(t.Context(), "SELECT 1"); err != nil {
			t.Error(err)
		}
	})
}

func killed(t *testing.T, v victim) {
	t.Helper()
	spec, err := json.Marshal(v)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), "RESTORE_VICTIM="+string(spec))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v\n%s", err, out)
	}
}

// In place: the old data are kept, and are back in their place if the instance does not come up on the new ones.
func TestInPlace(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		vol := volume(t, l)
		s := live(t, l, b, vol, "a")
		k := kit(t, l)
		point := k.Point(t, s, nil)
		must(t, s.Exec(t.Context(), "DELETE FROM "+table))
		r := restore.Request{Point: point, Datadir: s.Datadir, InPlace: true, Account: account()}
		d := deps(k)

		_, err := restore.Restore(t.Context(), k.Run(t, s.Name), r, d)
		refused(t, err, "a server is running there")

		must(t, s.Stop(t.Context()))
		d.StartService = func(context.Context) error { return errors.New("it is on strike") }
		run := k.Run(t, s.Name)
		if _, err := restore.Restore(t.Context(), run, r, d); err == nil || !strings.Contains(err.Error(), "on strike") {
			t.Fatalf("error %v", err)
		}
		must(t, run.Unwind(t.Context()))
		must(t, run.End())
		must(t, s.Start(t.Context()))
		if n := count(t, s); n != "0" {
			t.Errorf("after a failure the instance has %s rows: these are not its old data", n)
		}
		must(t, s.Stop(t.Context()))

		d.StartService = s.Start
		out, err := restore.Restore(t.Context(), k.Run(t, s.Name), r, d)
		must(t, err)
		if n := count(t, s); n != "3" {
			t.Errorf("restored in place the instance has %s rows", n)
		}
		if _, err := os.Stat(filepath.Join(out.Aside, "ibdata1")); err != nil || !out.Running {
			t.Errorf("the old data: %v, result %+v", err, out)
		}
		noMarks(t, s.Datadir)
		found, _ := filepath.Glob(s.Datadir + ".*")
		if len(found) != 1 || found[0] != out.Aside {
			t.Errorf("beside the data directory: %q", found)
		}
	})
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	var refusal *restore.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), why) {
		t.Errorf("not refused because %q but: %v", why, err)
	}
}

// Everything that is in the way is found before anything is touched.
func TestRefusals(t *testing.T) {
	l := labtest.New(t)
	vol := volume(t, l)
	b, err := lab.Find("mariadb-10.11")
	must(t, err)
	s := live(t, l, b, vol, "a")
	outside := filepath.Join(vol.Dir, "outside")
	must(t, os.Mkdir(outside, 0o755))
	must(t, os.Chown(outside, mysqlID(t), mysqlID(t)))
	k := kit(t, l)
	good := k.Point(t, s, nil)
	must(t, s.Exec(t.Context(), "CREATE TABLE sampledb.far (id INT) DATA DIRECTORY='"+outside+"'"))
	far := k.Point(t, s, nil)
	must(t, os.WriteFile(filepath.Join(vol.Dir, "file"), nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(vol.Dir, "full", "x"), 0o755))
	must(t, os.MkdirAll(filepath.Join(vol.Dir, "closed"), 0o700))
	must(t, os.MkdirAll(filepath.Join(vol.Dir, "conf"), 0o755))
	must(t, os.WriteFile(filepath.Join(vol.Dir, "conf", "my.cnf"), nil, 0o600))
	small, err := l.FS(t.Context(), "small", "ext4", 96<<20)
	must(t, err)
	must(t, os.Chmod(small.Dir, 0o755))
	newer := *good
	newer.Server.Version = "12.3.1-MariaDB"
	other := *good
	other.Server.Product = "mysql"
	stranger := filepath.Join(vol.Dir, "new")
	for _, c := range []struct {
		why string
		r   restore.Request
	}{
		{"must be absolute", restore.Request{Point: good, Datadir: "data"}},
		{"is no directory", restore.Request{Point: good, Datadir: filepath.Join(vol.Dir, "file")}},
		{"is not empty: it holds x", restore.Request{Point: good, Datadir: filepath.Join(vol.Dir, "full")}},
		{"a server is running there", restore.Request{Point: good, Datadir: s.Datadir}},
		{"a server is running there", restore.Request{Point: good, Datadir: filepath.Join(s.Datadir, "inside")}},
		{"cannot pass the directory", restore.Request{Point: good, Datadir: filepath.Join(vol.Dir, "closed", "new")}},
		{"lie in each other", restore.Request{Point: good, Datadir: stranger, ConfigDir: filepath.Join(stranger, "conf")}},
		{"an option file in", restore.Request{Point: good, Datadir: stranger, ConfigDir: filepath.Join(vol.Dir, "conf")}},
		{"too little space", restore.Request{Point: good, Datadir: filepath.Join(small.Dir, "new")}},
		{"older than the point's", restore.Request{Point: &newer, Datadir: stranger}},
		{"but the point is of mysql", restore.Request{Point: &other, Datadir: stranger}},
		{"cannot be used", restore.Request{Point: good, Datadir: stranger, Server: "/nonexistent/mariadbd"}},
		{"cannot be used", restore.Request{Point: good, Datadir: stranger, Server: "/bin/true"}},
		{"is not free", restore.Request{Point: good, Datadir: stranger, Port: s.Port, Start: true}},
		{"lies outside the data directory", restore.Request{Point: far, Datadir: stranger}},
		{"is a mount point", restore.Request{Point: good, Datadir: small.Dir, InPlace: true}},
	} {
		c.r.Account = account()
		before := names(t, vol.Dir)
		_, err := restore.Restore(t.Context(), k.Run(t, s.Name), c.r, deps(k))
		refused(t, err, c.why)
		if after := names(t, vol.Dir); after != before {
			t.Errorf("%s: there was %s, there is %s", c.why, before, after)
		}
	}
}

// A copy that is not started may have a port that is taken now, which is said.
func TestPortThatIsTaken(t *testing.T) {
	l := labtest.New(t)
	vol := volume(t, l)
	b, err := lab.Find("mariadb-10.11")
	must(t, err)
	s := live(t, l, b, vol, "a")
	k := kit(t, l)
	r, err := restore.Restore(t.Context(), k.Run(t, s.Name), restore.Request{Point: k.Point(t, s, nil), Datadir: filepath.Join(vol.Dir, "new"), Port: s.Port, Account: account()}, deps(k))
	must(t, err)
	text, err := os.ReadFile(r.OptionFile)
	must(t, err)
	if r.Port != s.Port || !strings.Contains(string(text), fmt.Sprintf("port = %d\n", s.Port)) || !strings.Contains(strings.Join(r.Warnings, " "), fmt.Sprintf("port %d is not free", s.Port)) {
		t.Errorf("port %d, warnings %q, option file:\n%s", r.Port, r.Warnings, text)
	}
}

// An account that is not in the copy ends the restore at once, and says what is wrong.
func TestAccountThatIsNotInTheCopy(t *testing.T) {
	l := labtest.New(t)
	vol := volume(t, l)
	b, err := lab.Find("mariadb-10.11")
	must(t, err)
	s := live(t, l, b, vol, "a")
	k := kit(t, l)
	r := restore.Request{Point: k.Point(t, s, nil), Datadir: filepath.Join(vol.Dir, "new")}
	r.Account.User = "nobody-knows"
	run := k.Run(t, s.Name)
	_, err = restore.Restore(t.Context(), run, r, deps(k))
	if err == nil || !strings.Contains(err.Error(), `the account "nobody-knows" cannot log in`) {
		t.Errorf("error %v", err)
	}
	must(t, run.Unwind(t.Context()))
	gone(t, r.Datadir)
}

// A copy that stands elsewhere than its point says is refused, unless a person takes it as it is.
func TestPositionThatDiffers(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		vol := volume(t, l)
		s := live(t, l, b, vol, "a")
		k := kit(t, l)
		point := k.Point(t, s, nil)
		ahead := *point
		ahead.Position.GTID = further(point)
		run := k.Run(t, s.Name)
		r := restore.Request{Point: &ahead, Datadir: filepath.Join(vol.Dir, "new"), Account: account()}
		_, err := restore.Restore(t.Context(), run, r, deps(k))
		if err == nil || !strings.Contains(err.Error(), "lacks transactions") {
			t.Errorf("error %v", err)
		}
		must(t, run.Unwind(t.Context()))
		r.AcceptPosition = true
		out, err := restore.Restore(t.Context(), k.Run(t, s.Name), r, deps(k))
		must(t, err)
		if len(out.Warnings) != 1 {
			t.Errorf("warnings %q", out.Warnings)
		}
	})
}

func further(p *catalog.Point) string {
	if p.Server.Product == "mariadb" {
		return p.Position.GTID[:strings.LastIndex(p.Position.GTID, "-")] + "-999999"
	}
	return p.Position.GTID + ",11111111-2222-3333-4444-555555555555:1-7"
}
