package extent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/extent"
)

// A balance moves what both cuts hold, while they are compared: an answer is right, or is that there is none.
func TestBalance(t *testing.T) {
	v, live, cut := subvolume(t, "", 2<<30)
	p := newPlayer(t, live, 3, 8)
	was := cut("was")
	p.play(60)
	now := cut("now")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		for range 3 {
			if out, err := exec.CommandContext(ctx, "btrfs", "balance", "start", "--full-balance", v.Dir).CombinedOutput(); err != nil {
				ended <- fmt.Errorf("%w: %s", err, out)
				return
			}
		}
		ended <- nil
	}()
	partners, err := extent.Partners(was, now)
	must(t, err)
	var s tally
	unknown := 0
	for running := true; running; {
		select {
		case err := <-ended:
			must(t, err)
			running = false
		default:
		}
		for name, partner := range partners {
			a, b := open(t, filepath.Join(was, partner)), open(t, filepath.Join(now, name))
			ranges, err := extent.Changed(a, b)
			if errors.Is(err, extent.ErrUnknown) {
				unknown++
				continue
			}
			must(t, err)
			paranoid(t, a, b, ranges, &s)
			must(t, errors.Join(a.Close(), b.Close()))
		}
	}
	t.Logf("%v; %d times the map changed while it was read", &s, unknown)
	s.check(t)
}

// An open file keeps its blocks, also when the cut that it belongs to is deleted: nothing new can come to lie where it is.
func TestDeletedCut(t *testing.T) {
	for _, fs := range []string{"btrfs", "xfs"} {
		t.Run(fs, func(t *testing.T) {
			const size = 96 << 20 // of 320 MiB: what is freed is used again at once
			v := volume(t, fs, 320<<20)
			live, was := filepath.Join(v.Dir, "live"), filepath.Join(v.Dir, "was")
			file, old := live, was
			if fs == "btrfs" {
				tool(t, "btrfs", "subvolume", "create", live)
				file, old = filepath.Join(live, "file"), filepath.Join(was, "file")
			}
			must(t, os.WriteFile(file, text(1, size), 0o600))
			if fs == "btrfs" {
				snapshot(t, live, was)
			} else {
				must(t, reflink(file, old))
			}
			held := open(t, old)
			if fs == "btrfs" {
				tool(t, "btrfs", "subvolume", "delete", "--commit-after", was)
			} else {
				must(t, os.Remove(was))
			}
			for i := range 3 {
				must(t, os.WriteFile(file, text(uint64(i+2), size/2), 0o600))
				tool(t, "sync", file)
				now := open(t, file)
				ranges, err := extent.Changed(held, now)
				must(t, err)
				var s tally
				paranoid(t, held, now, ranges, &s)
				if s.differ < size/4 {
					t.Error(&s)
				}
			}
		})
	}
}

// A writer is found sooner or later. What a live file says is only good for as long as nobody writes.
func TestWriterIsFound(t *testing.T) {
	_, live, cut := subvolume(t, "", 1<<30)
	file := filepath.Join(live, "file")
	must(t, os.WriteFile(file, text(1, 8<<20), 0o600))
	was := open(t, filepath.Join(cut("was"), "file"))
	stop, ended := make(chan struct{}), make(chan error, 1)
	f := must1(t)(os.OpenFile(file, os.O_WRONLY, 0))
	go func() {
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if _, err := f.WriteAt([]byte(strings.Repeat("x", 4096)), i*37%2000*4096); err != nil {
				ended <- err
				return
			}
		}
	}()
	now := open(t, file)
	var err error
	for end := time.Now().Add(time.Minute); !errors.Is(err, extent.ErrUnknown) && time.Now().Before(end); {
		_, err = extent.Changed(was, now)
	}
	close(stop)
	must(t, <-ended)
	if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("a file that is written to is not found to be: %v", err)
	}
}
