package pitr

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdstill/holdstill/internal/binlog"
)

// relayFiles are the pieces of a way as relay logs of a server.
type relayFiles struct {
	datadir string
	dir     string
	base    string // of their names: the server's own, with the channel's
	index   string // the file that lists them
	uid     int
	gid     int

	names  []string
	ends   []int64 // sum of the sizes until the end of each
	pieces []Piece
	heads  []int64 // what each has before its first range
}

// write makes the files. They are in the copy's data directory, which goes as a whole if anything fails.
func (r *relayFiles) write(pieces []Piece) error {
	r.pieces = pieces
	var listed strings.Builder
	sum := int64(0)
	for i, p := range pieces {
		name := filepath.Join(r.dir, fmt.Sprintf("%s.%06d", r.base, i+1))
		size, err := r.piece(name, p)
		if err != nil {
			return fmt.Errorf("cannot write %s as a relay log: %w", p.Log.Name, err)
		}
		sum += size
		r.names, r.ends = append(r.names, filepath.Base(name)), append(r.ends, sum)
		fmt.Fprintln(&listed, r.listed(name))
	}
	if err := r.list(listed.String()); err != nil {
		return fmt.Errorf("cannot write the list of relay logs: %w", err)
	}
	return nil
}

// list writes the index.
func (r *relayFiles) list(text string) (err error) {
	f, err := r.create(r.index)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(text)
	return err
}

// create makes a file of the server's. The directory is the server's, who runs: what is planted there under the name is not followed, and not given away.
func (r *relayFiles) create(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o660)
	if err != nil {
		return nil, err
	}
	if err := f.Chown(r.uid, r.gid); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// listed is a file as the server lists it: MariaDB compares the names letter by letter.
func (r *relayFiles) listed(name string) string {
	if r.dir == r.datadir {
		return "./" + filepath.Base(name)
	}
	return name
}

// piece copies what is wanted of one log.
func (r *relayFiles) piece(name string, p Piece) (size int64, err error) {
	from, err := os.Open(p.Log.Path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = from.Close() }()
	to, err := r.create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := copyRange(to, from, Range{0, p.Head}); err != nil {
		return 0, err
	}
	// as the first thing that a receiver writes: MariaDB's applier crashes if it does not know which log it is in
	rotation := binlog.Rotation(p.Log.Name, p.Server, p.Checksums)
	if _, err := to.Write(rotation); err != nil {
		return 0, err
	}
	r.heads = append(r.heads, p.Head+int64(len(rotation)))
	for _, part := range p.Ranges {
		if err := copyRange(to, from, part); err != nil {
			return 0, err
		}
	}
	info, err := to.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// copyRange appends a part of a file: the kernel copies, and shares the blocks where the file system can.
func copyRange(to, from *os.File, part Range) error {
	if _, err := from.Seek(part.From, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(to, from, part.To-part.From)
	return err
}

// at tells how many bytes of all files are before a position; ok is false if the file is none of them.
func (r *relayFiles) at(file string, offset int64) (bytes int64, ok bool) {
	for i, name := range r.names {
		if name == filepath.Base(file) {
			before := int64(0)
			if i > 0 {
				before = r.ends[i-1]
			}
			return before + offset, true
		}
	}
	return 0, false
}

// source tells where in which binary log a position of the relay logs is.
func (r *relayFiles) source(file string, offset int64) (l Log, at int64, ok bool) {
	i := slices.Index(r.names, filepath.Base(file))
	if i < 0 {
		return l, 0, false
	}
	rest := max(0, offset-r.heads[i])
	for _, part := range r.pieces[i].Ranges {
		if rest < part.To-part.From {
			return r.pieces[i].Log, part.From + rest, true
		}
		rest -= part.To - part.From
	}
	if i+1 < len(r.pieces) { // at its end: the next file's first
		return r.pieces[i+1].Log, r.pieces[i+1].Ranges[0].From, true
	}
	return l, 0, false
}

// total is the size of all files.
func (r *relayFiles) total() int64 {
	if len(r.ends) == 0 {
		return 0
	}
	return r.ends[len(r.ends)-1]
}
