package archive

import (
	"context"
	"fmt"
	"time"
)

// Lag is how far the archive is behind its server.
type Lag struct {
	Address string
	Server  Server
	File    string // where the server writes next
	Offset  int64
	Bytes   int64 // that are not archived; -1: the server has not the last archived log, so nobody knows
	Time    time.Duration
}

// Behind asks the server that was followed, or, where nothing is archived yet, the first.
func Behind(ctx context.Context, logs []Log, sources []Source) (*Lag, error) {
	var fault error
	for i := range sources {
		conn, f, err := meet(ctx, &sources[i])
		if err != nil {
			fault = err
			continue
		}
		_ = conn.Close()
		if len(logs) == 0 || sameServer(logs[len(logs)-1].Server, f.server) {
			return f.behind(logs, sources[i].Address(), time.Now()), nil
		}
		fault = fmt.Errorf("%s is not the server that was followed last", sources[i].Address())
	}
	return nil, fault
}

func (f *facts) behind(logs []Log, address string, now time.Time) *Lag {
	l := &Lag{Address: address, Server: f.server, File: f.end.file, Offset: f.end.at}
	at, have := 0, int64(0)
	if len(logs) > 0 {
		last := logs[len(logs)-1]
		have, l.Time = last.Size, now.Sub(last.Last)
		if at = f.index(last.Name); at < 0 && last.Closed {
			at, have = f.index(successor(last.Name)), 0
		}
		if at < 0 {
			l.Bytes = -1
			return l
		}
	}
	for _, file := range f.logs[at:] {
		if file.name == f.end.file {
			l.Bytes += f.end.at
			break
		}
		l.Bytes += file.size
	}
	if l.Bytes = max(0, l.Bytes-have); l.Bytes == 0 {
		l.Time = 0
	}
	return l
}
