package holder

import (
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/undo"
)

// TestGone: a caller is there until its end is closed, however long its request was; a decoder reads in pieces of 512 bytes and more.
func TestGone(t *testing.T) {
	for _, size := range []int{300, 512, 513, 1536, 5000} {
		pre, theirs, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.FileConn(theirs)
		if err != nil {
			t.Fatal(err)
		}
		_ = theirs.Close()
		r := Request{Verb: hook.Pre, Details: map[string]string{"disks": ""}}
		empty, _ := json.Marshal(r)
		r.Details["disks"] = strings.Repeat("x", size-len(empty))
		if err := json.NewEncoder(pre).Encode(r); err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(conn).Decode(&r); err != nil {
			t.Fatal(err)
		}
		gone := (&Caller{conn.(*net.UnixConn)}).Gone()
		select {
		case <-gone:
			t.Errorf("a caller that said %d bytes counts as gone", size)
		case <-time.After(50 * time.Millisecond):
		}
		_ = pre.CloseWrite()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Error("a caller that was interrupted counts as there")
		}
		_, _ = pre.Close(), conn.Close()
	}
}

func TestAnswerNeverBlocks(t *testing.T) {
	pre, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer pre.Close()
	conn, err := net.FileConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	begun := time.Now()
	if err := (&Caller{conn.(*net.UnixConn)}).Answer(Result{Message: strings.Repeat("x", 4<<20)}); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
}

func TestDesk(t *testing.T) {
	dir, terms := t.TempDir(), hook.Terms{Renew: true}
	if _, err := Ask(t.Context(), dir, "qemu", post()); !errors.Is(err, ErrNobody) {
		t.Fatal(err)
	}
	d, err := Listen(dir, "qemu", terms)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan Result)
	for _, verb := range []hook.Verb{hook.Post, hook.Pre} {
		go func() {
			r, err := Ask(t.Context(), dir, "qemu", Request{Verb: verb})
			if err != nil {
				t.Error(err)
			}
			answers <- r
		}()
	}
	if one, other := (<-d.Calls()).Verb, (<-d.Calls()).Verb; one == other || one == hook.Pre || other == hook.Pre {
		t.Errorf("%s and %s were asked", one, other)
	}
	d.Close(dir, "qemu", Result{Outcome: hook.Released})
	for range 2 {
		if r := <-answers; r.Outcome != hook.Released {
			t.Errorf("%+v", r)
		}
	}
	if _, err := Ask(t.Context(), dir, "qemu", post()); !errors.Is(err, ErrNobody) {
		t.Error(err)
	}
}

// TestDiesWhileAsked: who asks learns the rest from what was written down.
func TestDiesWhileAsked(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, socketName("qemu")))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, heard := range []bool{true, false} {
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if heard {
				_ = json.NewDecoder(conn).Decode(&Request{})
			}
			_ = conn.Close()
		}()
		if _, err := Ask(t.Context(), dir, "qemu", post()); !errors.Is(err, ErrNobody) {
			t.Error(err)
		}
	}
}

func TestLate(t *testing.T) {
	terms, now := hook.Terms{Hold: time.Minute, Renew: true}, time.Now()
	once := hook.Terms{Hold: time.Minute}
	for _, c := range []struct {
		outcome hook.Outcome
		ago     time.Duration
		terms   hook.Terms
		want    hook.Outcome
	}{
		{hook.Released, time.Second, terms, hook.Released},
		{hook.Released, time.Second, once, hook.NoHold},
		{hook.Released, time.Hour, terms, hook.NoHold}, // of another snapshot
		{hook.Lost, time.Second, terms, hook.Lost},
		{hook.Lost, time.Hour, terms, hook.NoHold},
		{hook.Expired, time.Hour, terms, hook.Expired},
		{hook.Failed, time.Second, terms, hook.Refused},
		{hook.TimedOut, time.Second, terms, hook.Refused},
		{hook.NotReady, time.Hour, terms, hook.NoHold},
		{hook.Aborted, time.Second, terms, hook.NoHold},
	} {
		s := Status{At: now.Add(-c.ago), Ended: true, Result: Result{Outcome: c.outcome}}
		if got := s.Late(c.terms, now); got.Outcome != c.want {
			t.Errorf("%s, %s ago: %s, not %s", c.outcome, c.ago, got.Outcome, c.want)
		}
	}
	if got := (Status{At: now}).Late(terms, now); got.Outcome != hook.Lost {
		t.Errorf("a holder that died: %s", got.Outcome)
	}
}

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	if _, known, err := ReadStatus(dir, "qemu"); known || err != nil {
		t.Fatal(known, err)
	}
	if err := WriteStatus(dir, "qemu", Status{Ended: true}); err != nil {
		t.Fatal(err)
	}
	s, known, err := ReadStatus(dir, "qemu")
	if !known || err != nil || !s.Ended || s.Boot != undo.BootID() || time.Since(s.At) > time.Minute {
		t.Error(s, known, err)
	}
}

// TestInherited: some hosts wait until what they gave to a script is closed by everybody; older kernels cannot close it at once.
func TestInherited(t *testing.T) {
	for name, mark := range map[string]func() error{"at once": closeOnExec, "one by one": closeEachOnExec} {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := mark(); err != nil {
			t.Error(name, err)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: it would stay open in a holder: %d, %v", name, flags, err)
		}
		_ = unix.Close(fd)
	}
}
