// Package repository is the seam to the store that keeps points off the machine: deduplicated, compressed, encrypted. The makes
// live in the folders below it.
//
// A stored point is a tree of directories, files and symlinks under the real paths that they had on the live server, so that
// /var/lib/mysql of the server is var/lib/mysql of the tree, and a description: the catalogue's entry, which lets any host that
// can open the store work with the point. Every stored point is a whole one; that it shares most of its content with the one
// before is the store's business.
//
// Beside the points there are binary logs, which grow: each is a tree with one file, which is committed again with what was added. So that a
// server which writes a little all the time does not make the store write its indexes all the time, what was added can wait beside the
// tree for a while, as tails (Append); the next commit takes their place.
package repository

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/extent"
)

// What can be wrong with a store, so that a command can say what to do.
var (
	ErrNone     = errors.New("there is no repository")                 // nothing was ever initialised there
	ErrExists   = errors.New("there is a repository already")          // and it is not initialised over
	ErrForeign  = errors.New("it holds something else")                // a place that is not empty, and no repository
	ErrPassword = errors.New("the password is not the repository's")   // or the key was changed
	ErrOther    = errors.New("it is another repository than before")   // its id is not the one that this machine connected to
	ErrDamaged  = errors.New("what is stored is damaged")              // bytes are missing, or are not those that were stored
	ErrNotThere = errors.New("the repository does not hold the point") // never did, or it was removed
)

// Lasting tells whether an error does not go away by trying again.
func Lasting(err error) bool {
	for _, kind := range []error{ErrPassword, ErrNone, ErrOther, ErrForeign, ErrDamaged, ErrNotThere, fs.ErrNotExist, fs.ErrPermission,
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Store is an open repository. All its methods may be called at once.
type Store interface {
	// ID is the store's own, the same for every host that connects to it.
	ID() string
	Status(context.Context) (Status, error)
	// Points lists the points that are stored, of all hosts and instances, oldest first.
	Points(context.Context) ([]Stored, error)
	// Logs lists the binary logs, of all hosts and instances, oldest first. Each is told once, as it was last committed or appended to.
	Logs(context.Context) ([]Stored, error)
	// Begin opens a session that writes one point or log. Nothing of it is seen by anybody before Commit.
	Begin(context.Context, Session) (Writer, error)
	// Append keeps what follows on a stored log until a commit has it too, in one write to the store. It returns when that is safe. The
	// description is that of the log with it. The bytes join what is stored; those that do not are not seen.
	Append(context.Context, Description, Tail, []byte) error
	// ReadTail reads what was appended.
	ReadTail(context.Context, Stored, Tail) ([]byte, error)
	// Open reads a stored point, or a log as it was last committed.
	Open(context.Context, Stored) (Tree, error)
	// Describe replaces the description of a stored point.
	Describe(context.Context, Stored, Description) (Stored, error)
	// Remove makes a stored point or log be no longer listed. The space is given back by Maintain, after a margin that protects sessions
	// which are under way on other hosts. It is no error if it is gone.
	Remove(context.Context, Stored) error
	// Maintain gives back what nothing refers to, and keeps the store fast. One host at a time does it; the others return at once.
	Maintain(context.Context) (Maintenance, error)
	// Check looks for damage, and names the points and files that it hits.
	Check(context.Context, CheckOptions) (Health, error)
	Close(context.Context) error
}

// Kind is what something stored is.
type Kind string

// The kinds.
const (
	KindPoint Kind = ""
	KindLog   Kind = "binlog"
)

// Session is what a writer needs to know before it begins.
type Session struct {
	Kind           Kind
	Instance, Host string
	// Chunk is the length of the pieces that files are cut into, in bytes: a power of two, see ChunkFor.
	Chunk int
	// Progress is called now and then, from any goroutine; nil: nobody wants it.
	Progress func(Counts)
}

// Counts is how far a session has come, in bytes.
type Counts struct {
	Read     int64 // read from the files
	Kept     int64 // taken over from a stored point without being read
	Holes    int64 // known to be zeros without being read
	Uploaded int64 // sent to the store, after compression
}

// Done is what of the files' lengths is dealt with.
func (c Counts) Done() int64 { return c.Read + c.Kept + c.Holes }

// Content is a stored file's content, in the store's own words.
type Content string

// File is one file to store.
type File struct {
	Name   string // for messages
	Reader io.ReaderAt
	Size   int64
	// Chunk is the length of the file's pieces where it is not the session's, in bytes; 0: it is.
	Chunk int
	// Data are the ranges that hold data, sorted; the rest reads as zeros. Nil: all.
	Data []extent.Range
	// Base is the content of an earlier version of the file, of which all but Changed is still the same. "": there is none.
	Base    Content
	Changed []extent.Range
	// Paranoid reads everything although Base is given, and fails if what Changed leaves out is not the same.
	Paranoid bool
}

// Writer writes one point. Put may be called from several goroutines.
type Writer interface {
	Put(context.Context, File) (Content, error)
	// Commit stores the tree and makes the point seen. It returns when the store has confirmed all of it. A log takes the place of what was
	// stored under its id before, with the tails that it has too.
	Commit(context.Context, *Node, Description) (Stored, error)
	Counts() Counts
	// Close ends the session. Without Commit nothing is seen; what was uploaded is found again by the next session of the instance.
	Close(context.Context) error
}

// Node is a file, directory or symlink of a stored tree.
type Node struct {
	Name    string
	Mode    fs.FileMode // type and permission bits, without set-user-id and its like
	UID     uint32
	GID     uint32
	ModTime time.Time
	Size    int64   // of a file's content
	Target  string  // of a symlink
	Content Content // of a file; of a directory that was read from a store
	Entries []*Node // of a directory that is written
}

// Description is what is stored beside the tree.
type Description struct {
	Kind     Kind
	Point    string // id of the point, or of the log
	Instance string
	Host     string
	TakenAt  time.Time
	Pinned   bool
	Entry    json.RawMessage // the catalogue's
}

// Stored is one point or log of the store.
type Stored struct {
	Description
	Handle string // the store's name for it
	Tails  []Tail // of a log: what follows on the tree, in order and without a gap
	// Unreadable says why the Entry is missing; all else is known all the same. Nil: it is there.
	Unreadable error
}

// Tail are bytes of a log's file that follow on what is committed, by their places in the file.
type Tail struct{ From, To int64 }

// Tree is the content of a stored point.
type Tree interface {
	Root(context.Context) (*Node, error)
	// Entries lists a directory, by name.
	Entries(context.Context, *Node) ([]*Node, error)
	// Open opens a file's content for reading at random, with a cache shared by the whole tree.
	Open(context.Context, *Node) (Reader, error)
	// Fetch writes a file's content to a target that reads as zeros so far, with several workers, checking every byte; what is zero
	// is not written.
	Fetch(context.Context, *Node, Target, Fetching) error
	Close(context.Context) error
}

// Fetching says how a file is fetched.
type Fetching struct {
	// Seed is a file that may hold some of the same bytes at the same places, such as an older version: what it holds is not fetched.
	// Nothing is taken from it that is not, by its hash, what is stored. Nil: there is none.
	Seed io.ReaderAt
	// Progress gets the bytes that are done, and how many of them came from the seed; nil: nobody wants it.
	Progress func(done, seeded int64)
}

// Reader reads a stored file.
type Reader interface {
	io.ReaderAt
	io.Closer
}

// Target is what a file is fetched into.
type Target interface {
	io.WriterAt
}

// Status is what the store is.
type Status struct {
	ID         string    `json:"id"`
	Location   string    `json:"location"` // without secrets
	Format     string    `json:"format"`   // hash, encryption, compression
	Points     int       `json:"points"`
	Logs       int       `json:"logs"` // binary logs
	Hosts      []string  `json:"hosts"`
	Bytes      int64     `json:"bytes"` // that the store takes
	Blobs      int       `json:"blobs"`
	Free       int64     `json:"free,omitempty"` // where the store can tell
	Capacity   int64     `json:"capacity,omitempty"`
	Maintained time.Time `json:"maintained,omitzero"` // when it was last
	Lock       string    `json:"lock,omitempty"`      // object lock, if there is one
}

// Maintenance is what was done.
type Maintenance struct {
	Ran    bool   `json:"ran"`
	Reason string `json:"reason,omitempty"` // why it did not run
}

// CheckOptions say how deep.
type CheckOptions struct {
	// Read is the part of the stored content that is read and verified, from 0 (only that it is there) to 100 percent.
	Read float64
	// Point restricts the check to one; "": all.
	Point string
	// Progress gets the number of files that were looked at.
	Progress func(files int)
}

// Health is the outcome of a check.
type Health struct {
	Points  int      `json:"points"`
	Logs    int      `json:"logs"` // binary logs
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"` // whose content was read
	Damages []Damage `json:"damages"`
}

// Damage is one thing that cannot be read back, of a point or of a log.
type Damage struct {
	Point string `json:"point"`
	Log   string `json:"log,omitempty"` // its id; the file is its name
	File  string `json:"file,omitempty"`
	Text  string `json:"text"`
}

// ChunkFor chooses the length of the pieces, in bytes, from the bytes of a whole point. A database page of 16 KiB is the best piece: what changes is
// a page, so no unchanged byte is sent again. But each piece costs about 60 bytes of index that every host keeps, so large points get larger ones
// (docs/decisions/0015). A point that has grown keeps the pieces of the one before until they are four times too small.
func ChunkFor(size int64, before int) int {
	const most = 4 << 20 // pieces of a point
	chunk := 16 << 10
	for int64(chunk)*most < size && chunk < 1<<20 {
		chunk *= 2
	}
	if before >= chunk/4 && before <= chunk*4 {
		return before
	}
	return chunk
}
