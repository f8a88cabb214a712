// Package offsite keeps what a binary log archive holds in a repository, away from the machine, and gives it back.
//
// # What is stored
//
// Each log of an archive is one stored tree of the repository (repository.KindLog) with one file, and a description (Record). Its id says
// whose it is: the host, the instance, the archive, and the place in it (ID). So nothing that another host archives, or a new
// archive in the place of one that was lost, ever takes the place of a log; that logs of several archives are the same one is found
// when they are read (Chain), and costs nothing, since the repository stores the same bytes once.
//
// What is archived is sent in pieces (Shipper): small ones as tails, which are cheap, until there are enough of them for a commit.
package offsite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/archive"
	"github.com/holdstill/holdstill/internal/repository"
)

// Record is what is stored of a log beside its bytes.
type Record struct {
	archive.State
	Archive string `json:"archive"` // the archive's identity
	// Until is a time at which the archive held no more than this log, as it is here, and those before it, and so did the server; zero: nobody knows.
	Until time.Time `json:"until,omitzero"`
}

// ID is what a repository calls a log.
func ID(host, instance, archive string, seq int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{host, instance, archive}, "\x00")))
	return fmt.Sprintf("%s-%08d", hex.EncodeToString(sum[:10]), seq)
}

// Stored is a log that a repository holds.
type Stored struct {
	Record
	In repository.Stored
}

// end is how far the log is there, in bytes, and committed how far its tree has it.
func (s Stored) end() int64 { return s.Size }

func (s Stored) committed() int64 {
	if len(s.In.Tails) > 0 {
		return s.In.Tails[0].From
	}
	return s.Size
}

// List reads what a repository holds of the logs of a host and an instance; "": of all. Those that cannot be told are in the error, beside the others.
func List(ctx context.Context, store repository.Store, host, instance string) ([]Stored, error) {
	all, err := store.Logs(ctx)
	if err != nil {
		return nil, err
	}
	var out []Stored
	var faults []error
	for _, s := range all {
		if host != "" && s.Host != host || instance != "" && s.Instance != instance {
			continue
		}
		one, err := described(s)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out = append(out, one)
	}
	return out, errors.Join(faults...)
}

// described reads a description, which names files here: so it is looked at.
func described(s repository.Stored) (Stored, error) {
	out := Stored{In: s}
	err := s.Unreadable
	if err == nil {
		err = json.Unmarshal(s.Entry, &out.Record)
	}
	switch {
	case err != nil:
		return out, fmt.Errorf("cannot read the description of the binary log %s in the repository: %w", s.Point, err)
	case out.Name == "" || filepath.Base(out.Name) != out.Name || strings.HasPrefix(out.Name, "."):
		return out, fmt.Errorf("the binary log %s in the repository is left out, since no log can have the name %q", s.Point, out.Name)
	case s.Point != ID(s.Host, s.Instance, out.Archive, out.Seq):
		return out, fmt.Errorf("the description of the binary log %s in the repository is that of %s", s.Point, ID(s.Host, s.Instance, out.Archive, out.Seq))
	}
	return out, nil
}

// Whole asks a repository which logs of an archive it holds to their ends, as they are here. What it has of other archives counts, too.
func Whole(ctx context.Context, store repository.Store, host, instance string) (func(archive.Log) bool, error) {
	stored, err := List(ctx, store, host, instance)
	if err != nil {
		return nil, err // what cannot be read is not there for sure
	}
	sizes := map[key]int64{}
	for _, s := range stored {
		if s.Closed && s.Broken == "" {
			sizes[keyOf(s.Log)] = max(s.Size, sizes[keyOf(s.Log)])
		}
	}
	return func(l archive.Log) bool {
		size, there := sizes[keyOf(l)]
		return l.Closed && there && size == l.Size
	}, nil
}

// key tells one log from another, whoever archived it.
type key struct{ server, name, head string }

func keyOf(l archive.Log) key {
	server := l.Server.UUID
	if server == "" {
		server = fmt.Sprintf("%s %d", l.Server.Product, l.Server.ID)
	}
	return key{server, l.Name, l.Head}
}

// place is how people write a place in a log.
func place(name string, at int64) string { return fmt.Sprintf("%s:%d", name, at) }
