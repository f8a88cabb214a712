package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// TestMomentsRefused asks for moments that cannot be reached: refused before anything is touched, with what can be reached instead.
func TestMomentsRefused(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onBtrfs)
		j := newJournal(t, build, s.server.Socket, 3)
		j.at = func() (string, int64) { return binlogEnd(t, s.server.Socket) }
		earlier := *j.note("before")
		j.steps()[0]()
		before := *j.note("insert")
		j.pause()
		p := s.backup()
		j.steps()[0]()
		in := *j.note("insert")
		j.large()
		large := j.Moments[len(j.Moments)-1]
		j.do("FLUSH BINARY LOGS")
		j.steps()[0]()
		last := *j.note("insert")

		logs := filepath.Join(s.lab.Dir(), "logs")
		good := s.copyLogs(t, logs)
		never := strings.TrimRight(last.gtid, "0123456789") + "999999"
		for what, c := range map[string]struct {
			code int
			want string
			args []string
		}{
			"in the future":            {2, "future", []string{"--until-time", time.Now().Add(time.Hour).Format(time.RFC3339)}},
			"before the point":         {2, "before the point", []string{"--until-time", p.TakenAt.Add(-time.Minute).Format(time.RFC3339)}},
			"a GTID of the point":      {2, "has it already", []string{"--until-gtid", earlier.gtid}},
			"before one of the point":  {2, "has it already", []string{"--until-gtid", before.gtid, "--before"}},
			"a GTID never seen":        {4, "not in", []string{"--until-gtid", never}},
			"no GTID":                  {2, "GTID", []string{"--until-gtid", "nonsense"}},
			"a position of the point":  {2, "earlier point", []string{"--until-position", fmt.Sprintf("%s:%d", before.file, before.offset-1)}},
			"inside an event":          {2, "inside an event", []string{"--until-position", fmt.Sprintf("%s:%d", large.file, large.inside+1)}},
			"beyond the end":           {4, "not in", []string{"--until-position", last.file + ":99999999"}},
			"a file that is not there": {4, "not in", []string{"--until-position", "binlog.999999:4"}},
			"no position":              {2, "FILE:POS", []string{"--until-position", "nonsense"}},
			"no time":                  {2, "is no time", []string{"--until-time", "yesterday"}},
			"two moments":              {2, "one moment", []string{"--until-gtid", last.gtid, "--until-time", "2026-01-01"}},
			"nothing to be before":     {2, "--before", []string{"--before"}},
			"nothing to skip":          {2, "only 0 of 1", []string{"--until-gtid", last.gtid, "--skip-gtid", never}},
		} {
			s.refusesMoment(t, what, c.code, c.want, append([]string{p.ID, "--binlogs", logs}, c.args...)...)
		}

		flipped := filepath.Join(logs, large.file)
		raw := must(os.ReadFile(flipped))(t)
		raw[large.inside-30] ^= 1
		check(t, os.WriteFile(flipped, raw, 0o600))
		s.refusesMoment(t, "a flipped byte", 2, "damaged", p.ID, "--binlogs", logs, "--until-gtid", last.gtid)
		s.reachesMoment(t, p.ID, "--binlogs", logs, "--until-gtid", in.gtid) // what is before it can be had
		raw[large.inside-30] ^= 1
		check(t, os.WriteFile(flipped, raw[:large.inside+7], 0o600))
		s.refusesMoment(t, "a truncated file", 2, "", p.ID, "--binlogs", logs, "--until-gtid", last.gtid)
		check(t, os.WriteFile(flipped, raw, 0o600))
		// a length that is wrong in the last file hides what follows: nobody knows what was there
		end := filepath.Join(logs, last.file)
		whole := must(os.ReadFile(end))(t)
		short := slices.Clone(whole)
		short[4+9+2] = 0x7f // of the first event
		check(t, os.WriteFile(end, short, 0o600))
		s.refusesMoment(t, "a wrong length", 2, "", p.ID, "--binlogs", logs, "--until-time", time.Now().Format(time.RFC3339))
		check(t, os.WriteFile(end, whole, 0o600))
		// a file that is missing between two others
		list := must(os.ReadFile(filepath.Join(logs, "binlog.index")))(t)
		check(t, os.WriteFile(filepath.Join(logs, "binlog.index"), []byte(strings.ReplaceAll(string(list), good[len(good)-2]+"\n", "")), 0o600))
		s.refusesMoment(t, "a missing file", 2, "", p.ID, "--binlogs", logs, "--until-gtid", last.gtid)
	})
}

// copyLogs copies the server's binary logs with their list.
func (s *shop) copyLogs(t *testing.T, to string) (names []string) {
	t.Helper()
	check(t, os.MkdirAll(to, 0o700))
	for line := range strings.Lines(string(must(os.ReadFile(filepath.Join(s.server.Datadir, "binlog.index")))(t))) {
		name := filepath.Base(strings.TrimSpace(line))
		names = append(names, name)
		check(t, os.WriteFile(filepath.Join(to, name), must(os.ReadFile(filepath.Join(s.server.Datadir, name)))(t), 0o600))
	}
	check(t, os.WriteFile(filepath.Join(to, "binlog.index"), []byte(strings.Join(names, "\n")+"\n"), 0o600))
	return names
}

func (s *shop) refusesMoment(t *testing.T, what string, code int, want string, args ...string) {
	t.Helper()
	target := filepath.Join(s.volume.Dir, "never")
	o := s.holdstill(append([]string{"restore", "--datadir", target}, args...)...)
	if o.code != code || !strings.Contains(o.stderr, want) || code == 4 && !strings.Contains(o.stderr, "reachable") {
		t.Errorf("%s: exit code %d, want %d and %q:\n%s", what, o.code, code, want, o.stderr)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Errorf("%s: %s was made", what, target)
	}
}

func (s *shop) reachesMoment(t *testing.T, args ...string) {
	t.Helper()
	target := filepath.Join(s.volume.Dir, "reached")
	s.holdstill(append([]string{"restore", "--datadir", target}, args...)...).want(t, 0)
	check(t, os.RemoveAll(target))
	check(t, os.RemoveAll(target+".conf"))
}
