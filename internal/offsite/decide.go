package offsite

import "github.com/holdstill/holdstill/internal/archive"

const (
	// appendMost is the longest piece, in bytes, that is sent as a tail. The bytes of a tail are sent twice, those of a commit once; a commit is five
	// blobs of the store, one of which every host reads.
	appendMost = 4 << 20
	// tailsMost and tailBytes are how many tails a log has before a commit takes their place: at one every ten seconds, one commit in ten minutes.
	tailsMost = 60
	tailBytes = 16 << 20
)

// step is what is done about a log.
type step int

const (
	nothing  step = iota
	appended      // a tail
	committed
	foreign // what is stored under the log's id is another one
)

// decide compares a log with what is stored under its id; nil: nothing is. trusted tells that what is stored is known to be its beginning.
func decide(log archive.State, is *Stored, trusted bool) step {
	if is == nil {
		return committed
	}
	more := log.Size - is.end()
	switch {
	case keyOf(is.Log) != keyOf(log.Log), more < 0 && log.Closed, is.Closed && !log.Closed:
		return foreign
	case more < 0: // of an open log: the server sends it again
		return nothing
	case log.Closed != is.Closed, log.Broken != is.Broken:
		return committed
	case more == 0:
		return nothing
	case !trusted, more > appendMost, len(is.In.Tails) >= tailsMost, log.Size-is.committed() > tailBytes:
		return committed
	}
	return appended
}
