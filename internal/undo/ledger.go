package undo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/fault"
)

const (
	opRun     = "run"
	opPromise = "promise"
	opUndone  = "undone"
	opKept    = "kept"

	ledgerSuffix = ".ledger"
	unbegun      = ".new" // behind the name of a ledger that has not got its first line
)

type record struct {
	Op       string    `json:"op"`
	N        int       `json:"n,omitempty"`
	Deed     *Deed     `json:"deed,omitempty"`
	Over     []int     `json:"over,omitempty"`
	Run      string    `json:"run,omitempty"`
	Instance string    `json:"instance,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Boot     string    `json:"boot,omitempty"`
	At       time.Time `json:"at"`
}

// ErrAlive means that the process of a run still has its ledger: there is nothing to recover.
var ErrAlive = errors.New("the run is still under way")

type ledger struct {
	path   string
	file   *os.File // locked (flock): who has the lock owns the run
	broken error    // the file may end in half a line: nothing more is written to it
}

// createLedger makes the file under another name first, so that a ledger is there with its first line whole, or not at all.
func createLedger(dir, id, instance string) (*ledger, error) {
	if err := durable.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("cannot open a ledger: %w", err)
	}
	path := filepath.Join(dir, id+ledgerSuffix)
	f, err := os.OpenFile(path+unbegun, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open a ledger: %w", err)
	}
	l := &ledger{path: path, file: f}
	head := record{Op: opRun, Run: id, Instance: instance, PID: os.Getpid(), Boot: BootID()}
	err = errors.Join(lockFile(f), l.append(head))
	if err == nil {
		err = errors.Join(os.Rename(path+unbegun, path), durable.SyncDir(dir))
	}
	if err != nil {
		_ = os.Remove(path + unbegun)
		return nil, errors.Join(fmt.Errorf("cannot begin a ledger: %w", err), f.Close())
	}
	return l, nil
}

func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrAlive
	}
	return err
}

// reopenLedger continues the ledger of a dead run. A torn last line is cut off first, so that what follows stays readable.
func reopenLedger(path string) (*ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if whole := untorn(content); len(whole) < len(content) {
		if err := f.Truncate(int64(len(whole))); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &ledger{path: path, file: f}, nil
}

// append writes records with one write and one sync. On failure the file is cut back to what it was, so that
// half a line never stands before a whole one.
func (l *ledger) append(records ...record) error {
	if len(records) == 0 || l.broken != nil {
		return l.broken
	}
	if err := fault.At("ledger.append"); err != nil {
		return fmt.Errorf("cannot write the ledger %s: %w", l.path, err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, r := range records {
		r.At = time.Now().UTC()
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	before, err := l.file.Stat()
	if err != nil {
		return err
	}
	_, err = l.file.Write(buf.Bytes())
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("cannot write the ledger %s: %w", l.path, err)
		if cut := l.file.Truncate(before.Size()); cut != nil {
			l.broken = err
		}
	}
	return err
}

func (l *ledger) close() error { return l.file.Close() }

func (l *ledger) remove() error {
	return errors.Join(l.file.Close(), os.Remove(l.path), durable.SyncDir(filepath.Dir(l.path)))
}

// untorn is a ledger without what a crash left of its last write: the end of a line is missing, or whole sectors are, and then they
// read as zeros, with the rest of the write behind them. One write holds one promise, or none: a promise behind zeros was synced
// after them, so they are damage, and stay for the reader to trip over.
func untorn(content []byte) []byte {
	if lost := bytes.IndexByte(content, 0); lost >= 0 && !bytes.Contains(content[lost:], []byte(`{"op":"`+opPromise+`"`)) {
		content = content[:lost]
	}
	return content[:bytes.LastIndexByte(content, '\n')+1]
}

// readLedger returns the run and its receipts as they stand. After an error they are what could be read before it.
func readLedger(path string) (head record, receipts []*Receipt, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return head, nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(untorn(content)))
	lines.Buffer(nil, 16<<20)
	for number := 1; lines.Scan(); number++ {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return head, receipts, fmt.Errorf("cannot read line %d of the ledger %s: %w", number, path, err)
		}
		switch r.Op {
		case opRun:
			head = r
		case opPromise:
			if r.Deed == nil || r.N != len(receipts)+1 {
				return head, receipts, fmt.Errorf("cannot read line %d of the ledger %s: a promise out of order", number, path)
			}
			receipts = append(receipts, &Receipt{Deed: *r.Deed, n: r.N, begun: true, open: true})
			err = closeAll(receipts[:r.N-1], r.Over)
		case opUndone, opKept:
			err = closeAll(receipts, []int{r.N})
		default:
			err = fmt.Errorf("unknown entry %q", r.Op)
		}
		if err != nil {
			return head, receipts, fmt.Errorf("cannot read line %d of the ledger %s: %w", number, path, err)
		}
	}
	return head, receipts, lines.Err()
}

func closeAll(receipts []*Receipt, numbers []int) error {
	for _, n := range numbers {
		if n < 1 || n > len(receipts) {
			return fmt.Errorf("deed %d was never promised", n)
		}
		receipts[n-1].open = false
	}
	return nil
}

func ledgersIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ledgerSuffix) {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, err
}

// BootID is the kernel's id of this boot, or "" where there is none.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
