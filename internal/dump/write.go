package dump

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/restore"
)

// packed is a file that is being written: what goes in is compressed, counted and summed. It has its own name only when it is whole.
type packed struct {
	dir, name string
	file      *os.File
	sum       hash.Hash
	bytes     int64
	io.WriteCloser
}

func create(dir, name string, c dumpfile.Compression) (*packed, error) {
	file, err := os.OpenFile(filepath.Join(dir, name+dumpfile.PartSuffix), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write the dump: %w", err)
	}
	p := &packed{dir: dir, name: name, file: file, sum: sha256.New()}
	p.WriteCloser, err = c.Pack(below{p})
	return p, err
}

// below is where the compressed bytes go.
type below struct{ p *packed }

func (b below) Write(data []byte) (int, error) {
	n, err := b.p.file.Write(data)
	b.p.bytes += int64(n)
	b.p.sum.Write(data[:n])
	return n, err
}

// whole ends the file, syncs it and gives it its name.
func (p *packed) whole(f *dumpfile.File) error {
	err := errors.Join(p.Close(), p.file.Sync(), p.file.Close())
	if err == nil {
		err = os.Rename(p.file.Name(), filepath.Join(p.dir, p.name))
	}
	if err == nil {
		err = durable.SyncDir(p.dir)
	}
	if err != nil {
		return fmt.Errorf("cannot write the dump: %w", err)
	}
	f.Name, f.Bytes, f.SHA256 = p.name, p.bytes, hex.EncodeToString(p.sum.Sum(nil))
	return nil
}

// drop removes what is no dump.
func (p *packed) drop() { _ = errors.Join(p.file.Close(), os.Remove(p.file.Name())) }

// command is the tool, not started.
func (j *job) command(ctx context.Context, arguments []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, j.tool.Path, arguments...)
	cmd.Env = restore.Environment()
	cmd.Dir = "/"
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run lets the tool write one file.
func (j *job) run(ctx context.Context, arguments []string, to io.Writer) (dumpfile.Counted, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := j.command(ctx, arguments)
	said := &brief{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return dumpfile.Counted{}, err
	}
	if err := cmd.Start(); err != nil {
		return dumpfile.Counted{}, fmt.Errorf("cannot start %s: %w", j.tool.Path, err)
	}
	counted, err := dumpfile.Count(to, out)
	if err != nil {
		cancel() // it would wait for a reader
	}
	return counted, j.judged(err, cmd.Wait(), counted.Complete, said)
}

// judged tells of the tool's end whether its text is whole: err is what came in the way of reading it.
func (j *job) judged(err, ended error, complete bool, said *brief) error {
	text := strings.TrimSpace(said.String())
	switch {
	case err == nil && ended == nil && complete:
		if text != "" {
			j.deps.Log.Warn(filepath.Base(j.tool.Path) + ": " + text)
		}
		return nil
	case err == nil && ended == nil:
		err = errors.New("its text lacks the last line")
	case text != "": // of the two it is the cause
		err = fmt.Errorf("%w: %s", errors.Join(ended, err), text)
	default:
		err = errors.Join(ended, err)
	}
	return fmt.Errorf("%s did not write a whole dump: %w", filepath.Base(j.tool.Path), err)
}

// brief keeps the beginning of what a tool says.
type brief struct{ b []byte }

func (w *brief) Write(p []byte) (int, error) {
	const limit = 4096
	w.b = append(w.b, p[:min(len(p), max(0, limit-len(w.b)))]...)
	return len(p), nil
}

func (w *brief) String() string { return string(w.b) }
