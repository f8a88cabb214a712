package cli

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/pitr"
)

// untilFlags say to which moment a restore goes on from its point.
type untilFlags struct {
	time, gtids, position string
	before                bool
	skip                  []string
	logs                  string
}

func (f *untilFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.time, "until-time", "", "go on until this time, as 2026-11-22T13:00:05Z or \"2026-11-22 13:00:05\" (local time): what was committed then is applied")
	flags.StringVar(&f.gtids, "until-gtid", "", "go on until these GTIDs are executed")
	flags.StringVar(&f.position, "until-position", "", "FILE:POS of the server's binary log: go on until there")
	flags.BoolVar(&f.before, "before", false, "stop just before what the until flag names")
	flags.StringArrayVar(&f.skip, "skip-gtid", nil, "leave this transaction out (can be given several times)")
	flags.StringVar(&f.logs, "binlogs", "", "take the binary logs from this directory, or as this index file lists them (default: the instance's archive)")
}

// wanted tells whether a moment is named.
func (f *untilFlags) wanted() bool { return f.time+f.gtids+f.position != "" }

// words are the flags as they were given.
func (f *untilFlags) words() []string {
	var out []string
	for _, pair := range [][2]string{{"--until-time", f.time}, {"--until-gtid", f.gtids}, {"--until-position", f.position}, {"--binlogs", f.logs}} {
		if pair[1] != "" {
			out = append(out, pair[:]...)
		}
	}
	if f.before {
		out = append(out, "--before")
	}
	for _, gtid := range f.skip {
		out = append(out, "--skip-gtid", gtid)
	}
	return out
}

func (f *untilFlags) check() error {
	named := 0
	for _, text := range []string{f.time, f.gtids, f.position} {
		if text != "" {
			named++
		}
	}
	switch {
	case named > 1:
		return usagef("name one moment: --until-time, --until-gtid or --until-position")
	case !f.wanted() && f.before:
		return usagef("--before says how far to go: it needs --until-time, --until-gtid or --until-position")
	case !f.wanted() && len(f.skip) > 0:
		return usagef("--skip-gtid leaves a transaction out on the way to a moment: say which (--until-time, --until-gtid or --until-position)")
	case !f.wanted() && f.logs != "":
		return usagef("--binlogs is the way to a moment: say which (--until-time, --until-gtid or --until-position)")
	}
	_, err := f.target()
	return err
}

func (f *untilFlags) target() (pitr.Target, error) {
	t := pitr.Target{GTIDs: f.gtids, Before: f.before, Skip: f.skip}
	var err error
	if f.time != "" {
		if t.Time, err = parseTime(f.time); err != nil {
			return t, err
		}
		if t.Time.After(time.Now()) {
			return t, usagef("--until-time %s is in the future", t.Time.Format(time.RFC3339Nano))
		}
	}
	if f.position == "" {
		return t, nil
	}
	at := strings.LastIndexByte(f.position, ':')
	if at > 0 {
		t.File = filepath.Base(f.position[:at])
		t.Offset, err = strconv.ParseInt(f.position[at+1:], 10, 64)
	}
	if at <= 0 || err != nil || t.Offset < 4 {
		return t, usagef("--until-position %q: write it as FILE:POS, binlog.000012:4711", f.position)
	}
	return t, nil
}

// moments are the ways to write a time, those without a zone in local time.
var moments = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"}

func parseTime(text string) (time.Time, error) {
	for _, layout := range moments {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("%q is no time: write it as 2026-11-22T13:00:05Z, or as \"2026-11-22 13:00:05\" in local time", text)
}
