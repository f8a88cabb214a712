package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// fillsDir is in the archive's directory: for each gap that is filled later an archive of its own, named by the place of the log behind the gap. Its logs,
// of another server, say what they fill (Log.Fills); whoever reads them puts them between.
const fillsDir = "fills"

// usualFill is between two looks at whether a gap can be filled now.
const usualFill = time.Minute

func fillDir(dir string, seq int) string {
	return filepath.Join(dir, fillsDir, fmt.Sprintf("%08d", seq))
}

// fillerID is the filler's as a client of replication: with the archiver's own it would end its stream.
func fillerID(host, instance string) uint32 { return clientID(host, instance+"\x00fill") }

// Dir is the archive's directory.
func (a *Archive) Dir() string { return a.dir }

// Fills are the archives that fill gaps of this one, or will when they are whole.
func (a *Archive) Fills() ([]*Archive, error) {
	found, err := os.ReadDir(filepath.Join(a.dir, fillsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the binary log archive: %w", err)
	}
	var out []*Archive
	for _, f := range found {
		out = append(out, &Archive{filepath.Join(a.dir, fillsDir, f.Name())})
	}
	return out, nil
}

// hole is a gap of which GTIDs tell what is missing.
type hole struct {
	before, behind *entry
	want           *gtids // what the log behind it begins with
}

// fillAlways fills what can be filled, now and whenever some time has passed.
func (a *archiver) fillAlways(ctx context.Context) {
	for {
		a.fillAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(a.fillEvery):
		}
	}
}

// fillAll looks at each gap once.
func (a *archiver) fillAll(ctx context.Context) {
	entries, err := readEntries(a.Dir)
	if err == nil {
		err = a.tidyFills(entries)
	}
	if err != nil {
		a.tell("gaps cannot be filled: " + err.Error())
		return
	}
	for _, h := range holes(entries) {
		if ctx.Err() != nil {
			return
		}
		if err := a.fill(ctx, entries[len(entries)-1].followed(), h); err != nil && ctx.Err() == nil {
			a.tell(fmt.Sprintf("the gap before %s cannot be filled now, and is tried again: %s", h.behind.Name, err))
		}
	}
}

// tell says something once, with what it is about now.
func (a *archiver) tell(text string, about ...any) {
	if !a.told[text] {
		a.told[text] = true
		a.Log.Warn(text, append([]any{"instance", a.Instance}, about...)...)
	}
}

// holes are the gaps that another server's logs may fill. Where the log behind one lacks what is before it, histories part.
func holes(entries []*entry) []hole {
	var out []hole
	for i, behind := range entries {
		if i == 0 || behind.Gap == nil || entries[i-1].Broken != "" || entries[i-1].GTIDAfter == "" {
			continue
		}
		before := entries[i-1]
		want, err := parseGTIDs(behind.GTIDBefore)
		if err != nil {
			continue
		}
		have, err := parseGTIDs(before.GTIDAfter)
		if err == nil && have.lacks(want) != "" && want.lacks(have) == "" {
			out = append(out, hole{before, behind, want})
		}
	}
	return out
}

// tidyFills removes what fills a gap that is no more: the log behind it was pruned.
func (a *archiver) tidyFills(entries []*entry) error {
	fills, err := (&Archive{a.Dir}).Fills()
	if err != nil {
		return err
	}
	gaps := map[int]bool{}
	for _, e := range entries {
		gaps[e.Seq] = e.Gap != nil
	}
	for _, f := range fills {
		seq, err := strconv.Atoi(filepath.Base(f.dir))
		if err == nil && !gaps[seq] {
			if err := os.RemoveAll(f.dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill reads what is missing from a server that has it, and goes on where it ended before.
func (a *archiver) fill(ctx context.Context, followed Server, h hole) error {
	dir := fillDir(a.Dir, h.behind.Seq)
	whole, err := h.filled(dir)
	if err != nil || whole {
		return err
	}
	home, err := a.find(ctx, followed)
	if err != nil {
		return err
	}
	defer home.conn.Close()
	if !home.facts.gtids {
		return fmt.Errorf("%s has transactions without GTIDs (gtid_mode)", home.source.Address())
	}
	o := a.Options
	o.Dir, o.Once = dir, false
	s, err := openSpool(dir, a.Log)
	if err != nil {
		return err
	}
	sub := newArchiver(o, s)
	sub.id, sub.fills, sub.told = fillerID(a.Host, a.Instance), h.behind.Head, a.told
	err = sub.fillFrom(ctx, home, h)
	return errors.Join(err, s.stop(ctx))
}

// filled tells whether all is there. What came out with a gap of its own is begun anew.
func (h hole) filled(dir string) (bool, error) {
	logs, err := readEntries(dir)
	if err != nil || len(logs) == 0 {
		return false, err
	}
	for _, l := range logs {
		if l.Gap != nil || l.Broken != "" || l.Fills != h.behind.Head {
			return false, os.RemoveAll(dir)
		}
	}
	last := logs[len(logs)-1]
	have, err := parseGTIDs(last.GTIDAfter)
	return err == nil && last.Closed && have.lacks(h.want) == "", err
}

// find connects to a server by what it is.
func (a *archiver) find(ctx context.Context, server Server) (*peer, error) {
	fault := errors.New("the server that is followed is not among those that are configured")
	for i := range a.Sources {
		conn, f, err := meet(ctx, &a.Sources[i])
		if err != nil {
			fault = err
			continue
		}
		if sameServer(f.server, server) {
			return &peer{&a.Sources[i], conn, f}, nil
		}
		_ = conn.Close()
	}
	return nil, fault
}

func (a *archiver) fillFrom(ctx context.Context, home *peer, h hole) error {
	end := a.spool.end()
	if end == nil {
		end = h.before
	}
	p, c := a.helper(ctx, end, home, h.want)
	if p == nil {
		return errors.New("no other server has what is missing")
	}
	defer p.conn.Close()
	a.Log.Info(fmt.Sprintf("filling the gap before %s from %s", h.behind.Name, p.source.Address()), "instance", a.Instance, "gtids", lost(end, h.want))
	err := a.follow(ctx, p, c)
	if !errors.Is(err, errMet) {
		return err
	}
	if err := a.spool.close(ctx, ""); err != nil {
		return err
	}
	a.Log.Info("the gap before "+h.behind.Name+" is filled", "instance", a.Instance)
	return nil
}
