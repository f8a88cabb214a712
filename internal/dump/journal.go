package dump

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/durable"
)

// journal is the file that tells that a dump is unfinished, and what of it is done: first the dump, then a dumpfile.File a line. Whoever
// writes it holds its lock.
type journal struct {
	file *os.File
	mu   sync.Mutex
	done map[string]dumpfile.File
}

// identity is what two runs must have in common for the second to go on with the first.
type identity struct {
	Format      int                  `json:"format"`
	Point       string               `json:"point"`
	Instance    string               `json:"instance"`
	Compression dumpfile.Compression `json:"compression"`
	Sums        bool                 `json:"sums"`
}

// begin opens the directory: absent or empty, or with an unfinished dump. That of the same point is gone on with; any other makes way.
func begin(r Request) (*journal, error) {
	if err := usable(r.Dir); err != nil {
		return nil, err
	}
	if err := durable.MakeDir(r.Dir); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the dump: %w", err)
	}
	path := filepath.Join(r.Dir, dumpfile.UnfinishedName)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot begin the dump: %w", err)
	}
	j := &journal{file: file, done: map[string]dumpfile.File{}}
	if err := j.open(r); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// CheckDir tells whether a dump can be written to a directory, and leaves no trace. It is for those who would do a lot before Dump says so.
func CheckDir(dir string) error {
	if err := usable(dir); err != nil {
		return err
	}
	const remedy = "give a directory that can be written to; what is absent will be made"
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue
		case err == nil && !info.IsDir():
			err = unix.ENOTDIR
		case err == nil:
			err = unix.Access(at, unix.W_OK|unix.X_OK)
		}
		if err != nil {
			return &Refusal{fmt.Sprintf("%s cannot be written to: %s: %v", dir, at, err), remedy}
		}
		return nil
	}
}

// usable refuses a directory with anything in it that is not of an unfinished dump.
func usable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &Refusal{fmt.Sprintf("%s cannot be used: %v", dir, err), "give a directory that is absent or empty"}
	}
	for _, e := range entries {
		if e.Name() == dumpfile.UnfinishedName {
			return nil
		}
	}
	for _, e := range entries {
		if e.Name() == dumpfile.ManifestName {
			return &Refusal{dir + " holds a dump already", "give another directory, or remove that dump"}
		}
	}
	if len(entries) > 0 {
		return &Refusal{fmt.Sprintf("%s is not empty (%s)", dir, entries[0].Name()), "give a directory that is absent or empty"}
	}
	return nil
}

func (j *journal) open(r Request) error {
	if err := unix.Flock(int(j.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return &Refusal{"another dump is writing to " + r.Dir, "wait for it, or give another directory"}
	}
	head, err := json.Marshal(identity{dumpfile.Format, r.Point, r.Instance, r.Compression, !r.NoSums})
	if err != nil {
		return err
	}
	content, err := os.ReadFile(j.file.Name())
	if err != nil {
		return err
	}
	if endedMeanwhile(r.Dir, j.file, len(content)) {
		return &Refusal{r.Dir + " holds a dump already, which ended at this moment", "give another directory, or remove that dump"}
	}
	first, rest, _ := bytes.Cut(content, []byte{'\n'})
	if len(content) > 0 && bytes.Equal(first, head) && r.Point != "" {
		j.resume(r.Dir, rest)
		return j.file.Truncate(int64(bytes.LastIndexByte(content, '\n') + 1)) // a line that was torn
	}
	if err := errors.Join(clear(r.Dir), j.file.Truncate(0)); err != nil {
		return fmt.Errorf("cannot clear an unfinished dump away: %w", err)
	}
	return j.line(head)
}

// endedMeanwhile tells whether the dump that was seen unfinished has ended since: its file was removed after we opened it, or before, and
// then ours is a new one.
func endedMeanwhile(dir string, file *os.File, bytes int) bool {
	opened, err := file.Stat()
	if err != nil {
		return true
	}
	if at, err := os.Stat(file.Name()); err != nil || !os.SameFile(opened, at) {
		return true
	}
	if _, err := os.Lstat(filepath.Join(dir, dumpfile.ManifestName)); bytes > 0 || err != nil {
		return false
	}
	_ = os.Remove(file.Name())
	return true
}

// resume takes over what is whole. A line is written after its file was synced, so its file is as the line says unless somebody changed it.
func (j *journal) resume(dir string, lines []byte) {
	in := bufio.NewScanner(bytes.NewReader(lines))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var f dumpfile.File
		if json.Unmarshal(in.Bytes(), &f) != nil || f.Name == "" || f.Name != filepath.Base(f.Name) {
			continue
		}
		if info, err := os.Lstat(filepath.Join(dir, f.Name)); err == nil && info.Size() == f.Bytes {
			j.done[f.Name] = f
		}
	}
}

// clear removes the files of a dump that was never finished: by their names, nothing else.
func clear(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var all []error
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), dumpfile.PartSuffix)
		if e.Type().IsRegular() && dumpfile.IsOurs(name) {
			all = append(all, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(all...)
}

// add notes a file that is whole and synced.
func (j *journal) add(f dumpfile.File) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return j.line(line)
}

func (j *journal) line(line []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.file.Write(append(line, '\n'))
	if err = errors.Join(err, j.file.Sync()); err != nil {
		return fmt.Errorf("cannot note what is done: %w", err)
	}
	return nil
}

// Close lets another dump have the directory.
func (j *journal) Close() error { return j.file.Close() }
