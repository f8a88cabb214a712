package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/undo"
)

// kindClaim is an identity that a run took for its replica.
const kindClaim = "replica.claim"

// claimFile is STATE/replicas/SERVER_ID.json: an identity that was given away on this machine. It stays as long as the replica's
// data directory does, so that a replica that is stopped, and that no source lists, keeps its identity.
type claimFile struct {
	ServerID uint32 `json:"server_id"`
	Datadir  string `json:"datadir"`
	Run      string `json:"run"`
}

type claimArgs struct {
	Dir string `json:"dir"`
	claimFile
}

// Undoers are how a later process takes our deeds back, beside those of package restore.
func Undoers() undo.Registry {
	return undo.Registry{kindClaim: func(_ context.Context, d undo.Deed) error {
		var a claimArgs
		if err := json.Unmarshal(d.Args, &a); err != nil {
			return fmt.Errorf("cannot read the arguments of %s: %w", d.Kind, err)
		}
		return unclaim(a)
	}}
}

func (a claimArgs) path() string {
	return filepath.Join(a.Dir, strconv.FormatUint(uint64(a.ServerID), 10)+".json")
}

func unclaim(a claimArgs) error {
	held, err := readClaim(a.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || held.Run != a.Run {
		return err
	}
	return os.Remove(a.path())
}

func readClaim(path string) (c claimFile, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return c, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return c, nil
}

// claims lists the identities that are in use on this machine, and whose they are.
func claims(dir string) (map[uint32]string, error) {
	out := map[uint32]string{}
	if dir == "" {
		return out, errors.New("cannot make a replica: no directory for identities is given")
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		c, err := readClaim(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return out, err
		}
		if !stale(filepath.Join(dir, e.Name()), c) {
			out[c.ServerID] = c.Datadir
		}
	}
	return out, err
}

// stale claims are of replicas whose data are gone, and that no run is making now: that run holds a lock on its claim.
func stale(path string, c claimFile) bool {
	if _, err := os.Lstat(c.Datadir); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer func() { _ = f.Close() }()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

// claimIdentity takes the server_id for this run, against every other run on this machine.
func (m *making) claimIdentity(ctx context.Context) error {
	a := claimArgs{Dir: m.Request.Claims, claimFile: claimFile{ServerID: m.ServerID, Datadir: m.Request.Datadir, Run: m.job.Run.ID}}
	deed := undo.NewDeed(kindClaim, "config", fmt.Sprintf("claim the server_id %d", m.ServerID), "rm "+a.path(), a)
	return m.job.Act(ctx, deed, func(context.Context) error {
		held, err := a.take()
		if held != nil {
			m.held = append(m.held, held)
		}
		return err
	})
}

// take writes the claim and returns it locked; the lock ends with the file's Close, or with the process.
func (a claimArgs) take() (*os.File, error) {
	if err := os.MkdirAll(a.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot claim the server_id: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(a.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot claim the server_id: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("cannot claim the server_id: %w", err)
	}
	if held, err := readClaim(a.path()); err == nil && held.Run != a.Run && !stale(a.path(), held) {
		return nil, &takenError{fmt.Errorf("the server_id %d is taken: the run %s claimed it for the replica in %s", a.ServerID, held.Run, held.Datadir)}
	}
	return a.write()
}

func (a claimArgs) write() (*os.File, error) {
	content, err := json.Marshal(a.claimFile)
	if err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(a.path(), content, 0o600); err != nil {
		return nil, fmt.Errorf("cannot claim the server_id: %w", err)
	}
	f, err := os.Open(a.path())
	if err != nil {
		return nil, fmt.Errorf("cannot claim the server_id: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot claim the server_id: %w", err), f.Close())
	}
	return f, nil
}

// takenError is an identity that somebody else has.
type takenError struct{ error }

// Hint says what to do.
func (*takenError) Hint() string { return "use --server-id auto, or a number that is free" }

// letGo drops the locks; the claims stay.
func (m *making) letGo() {
	for _, f := range m.held {
		_ = f.Close()
	}
}
