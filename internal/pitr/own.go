package pitr

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/database"
)

// errOwnHidden means that a copy's own log does not tell what was written: it is encrypted, or gone.
var errOwnHidden = errors.New("the copy's own binary log does not tell")

// ownSince counts the transactions in a copy's own binary log behind a position. A server may be writing to it.
func ownSince(datadir string, since database.Position) (n int, err error) {
	name, from := filepath.Base(since.File), int64(since.Offset)
	if since.File == "" {
		return 0, errOwnHidden
	}
	for first := true; ; first = false {
		l, err := listedLog(filepath.Join(datadir, name), "", true)
		switch {
		case errors.Is(err, os.ErrNotExist) && !first:
			return n, nil
		case errors.Is(err, os.ErrNotExist) || errors.Is(err, errEncrypted):
			return 0, fmt.Errorf("%w: %w", errOwnHidden, err)
		case err != nil:
			return 0, err
		case first && l.Size < from:
			return 0, fmt.Errorf("%s is shorter than it was", l.Path)
		}
		more, err := transactionsIn(l, from)
		if err != nil {
			return 0, fmt.Errorf("cannot read the copy's own binary log %s: %w", l.Path, err)
		}
		n, from = n+more, 0
		if name = following(name); name == "" {
			return n, nil
		}
	}
}

func transactionsIn(l Log, from int64) (n int, err error) {
	f, err := os.Open(l.Path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	var group binlog.Grouper
	err = binlog.Scan(io.LimitReader(f, l.Size), func(e binlog.Event) error {
		done, err := group.Add(e)
		if done != nil && done.End > from {
			n++
		}
		return err
	})
	return n, err
}

var numbered = regexp.MustCompile(`^(.*\.)([0-9]+)$`)

// following is the name of the log that a server writes after the one.
func following(name string) string {
	m := numbered.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	n, err := strconv.ParseUint(m[2], 10, 63)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s%0*d", m[1], len(m[2]), n+1)
}
