package pitr

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/restore"
)

// start is where the point stands in the logs.
type start struct {
	log    int
	offset int64
}

// start finds the log that the point was taken with, or, where that server's logs are not among these, the first one that has something the
// point lacks.
func (f *finder) start() (start, error) {
	at, point := f.from, f.from.Point
	if v := restore.ParseVersion(point.Server.Version); !f.logs.MariaDB && !v.AtLeast(5, 7, 0) {
		return start{}, f.refuse("MySQL %s cannot replay beside its own replication, only 5.7 and newer", point.Server.Version)
	}
	if point.Consistency != catalog.Application {
		return start{}, f.refuse("the point is only %s-consistent, so that nobody knows exactly which transactions it has", point.Consistency)
	}
	if at.File == "" {
		return start{}, f.refuse("the server wrote no binary log when the point was taken")
	}
	if len(f.logs.All) == 0 {
		return start{}, f.refuse("there is no binary log in %s", f.logs.From)
	}
	for i := len(f.logs.All) - 1; i >= 0; i-- {
		l := f.logs.All[i]
		if l.Server == at.Server && l.Name == filepath.Base(at.File) && l.Size >= at.Offset && f.fits(l) {
			return start{i, at.Offset}, nil
		}
	}
	if at.GTID == "" {
		return start{}, f.refuse("%s, in which %s stands, is not in %s", at.File, f.from.self(), f.logs.From)
	}
	f.overlap = true
	for i := len(f.logs.All) - 1; i >= 0; i-- {
		if f.joins(f.logs.All[i]) {
			return start{i, 0}, nil
		}
	}
	return start{}, f.refuse("%s does not reach back to where %s stands, %s:%d", f.logs.From, f.from.self(), at.File, at.Offset)
}

// fits tells a log from another one of the same name and server that was begun after the point, after a reset.
func (f *finder) fits(l Log) bool {
	h, err := f.head(l)
	if begun := f.from.Begun; err == nil && !begun.IsZero() {
		return h.begun.Equal(begun)
	}
	return err == nil && f.before(h)
}

// before tells whether a log was begun before the point was taken; it tells its time in seconds.
func (f *finder) before(h head) bool { return !h.begun.After(f.from.Time.Add(time.Second)) }

// joins tells whether the way can begin with a log of another server than the point's: one that was begun before the point and has nothing before it
// that the point lacks, or one that goes on exactly from the point. After a reset GTIDs say nothing, hence the time.
func (f *finder) joins(l Log) bool {
	h, err := f.head(l)
	if err != nil || h.executed == nil || !f.way.Executed.Has(h.executed) {
		return false
	}
	return f.before(h) || h.executed.Has(f.way.Executed)
}

// head is what a log says of itself.
type head struct {
	begun    time.Time
	executed *binlog.GTIDs // before it; nil: it does not say
}

func (f *finder) head(l Log) (h head, err error) {
	if l.Fetch != nil {
		h.begun = l.Begun
		h.executed, err = binlog.ParseGTIDs(f.logs.MariaDB, l.Executed)
		return h, err
	}
	file, err := os.Open(l.Path)
	if err != nil {
		return h, err
	}
	defer func() { _ = file.Close() }()
	events := 0
	err = binlog.Scan(io.LimitReader(file, l.Size), func(e binlog.Event) error {
		if events++; events == 1 {
			h.begun = time.Unix(int64(e.Header.Timestamp), 0)
		}
		text, ok, err := binlog.Executed(e)
		if ok {
			h.executed, err = binlog.ParseGTIDs(f.logs.MariaDB, text)
		}
		if err == nil && (ok || events > 4) {
			err = binlog.ErrStop
		}
		return err
	})
	return h, err
}

// Identity tells one server from another: by its UUID where it has one, else by its id.
func Identity(uuid string, id uint32) string {
	if uuid != "" {
		return uuid
	}
	return fmt.Sprintf("server-id %d", id)
}
