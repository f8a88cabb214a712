package archive

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// A byte that was flipped anywhere is refused by an export, which leaves nothing; the bytes as they were are given out whole.
func TestFlippedByte(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		s.load()
		s.sql("FLUSH LOGS")
		s.once()
		logs := s.logs()
		l := logs[len(logs)-2]
		a, err := Open(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(a.Path(l))
		if err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		for i := range int64(300) {
			at := i // of the head every byte
			if i >= 200 {
				at = (i - 200) * (l.Size - 1) / 99
			}
			damaged := bytes.Clone(whole)
			damaged[at] ^= 1 << (i % 8)
			if err := os.WriteFile(a.Path(l), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Export(l, out); err == nil || !errors.Is(err, errDamaged) {
				t.Errorf("a byte flipped at %d: %v", at, err)
			}
		}
		if err := os.WriteFile(a.Path(l), whole[:len(whole)-10], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Export(l, out); !errors.Is(err, errDamaged) {
			t.Errorf("a log cut off: %v", err)
		}
		if found, _ := os.ReadDir(out); len(found) > 0 {
			t.Errorf("exports that failed left %v", found)
		}
		if err := os.WriteFile(a.Path(l), whole, 0o600); err != nil {
			t.Fatal(err)
		}
		path, err := a.Export(l, out)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, whole) || filepath.Base(path) != l.Name {
			t.Errorf("%s is not the log", path)
		}
		if _, err := a.Export(l, out); err == nil {
			t.Error("an export replaced a file")
		}
	})
}

// What a power cut may leave behind the synced bytes is cut off, and asked for again; so is half an event, and what was never described.
func TestTorn(t *testing.T) {
	eachBuild(t, func(t *testing.T, build lab.Build) {
		s := newScene(t, build)
		s.load()
		s.once()
		l := s.last()
		path := (&Archive{s.dir}).Path(l)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		half := (&Archive{s.dir}).Path(Log{Seq: l.Seq + 1, Name: "binlog.000099"})
		for name, content := range map[string][]byte{
			"zeros": append(bytes.Clone(whole), make([]byte, 5000)...), "an event without its end": append(bytes.Clone(whole), whole[4:30]...),
			"cut inside of the last event": whole[:len(whole)-3], "text": append(bytes.Clone(whole), strings.Repeat("abc", 100)...),
		} {
			if err := errors.Join(os.WriteFile(path, content, 0o600), os.WriteFile(half, whole[:7], 0o600), os.WriteFile(half+markSuffix, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			s.once()
			s.await()
			if got, _ := os.ReadFile(path); !bytes.Equal(got, whole) {
				t.Errorf("%s: what is there now has %d bytes, it had %d", name, len(got), len(whole))
			}
		}
		s.whole()
		if _, err := os.Stat(half); err == nil {
			t.Error("bytes without a description stayed")
		}
	})
}

// A server that has other events than were archived is found out by the last of them alone.
func TestOtherEvents(t *testing.T) {
	build, err := lab.Find("mysql-9.7")
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t, build)
	s.load()
	s.once()
	// the archive of a server that was set back: it has an event more than the server
	before := s.last()
	s.sql("CREATE DATABASE onlyhere")
	s.once()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(s.Datadir, before.Name), before.Size); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.sql("CREATE DATABASE afterwards")
	s.once()
	s.once()
	s.await()
	logs := s.logs()
	if n := before.Seq; len(logs) != n+2 || logs[n].Gap == nil || logs[n].Name != before.Name || logs[n+1].Gap != nil {
		t.Fatalf("archived are %+v", logs)
	}
	s.equal(logs[before.Seq:])
}

// A full file system is waited out: what the server has meanwhile is archived when there is room again.
func TestNoRoom(t *testing.T) {
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t, build)
	s.dir = filepath.Join(s.lab.Dir(), "small")
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=8m", "none", s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(s.dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(s.dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o, told := s.options(), &bytes.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(told, nil))
	stop := s.start(o)
	s.load() // 3 MB
	s.await()
	s.load()
	time.Sleep(1500 * time.Millisecond)
	if logs := s.logs(); logs[0].Size >= s.end().at {
		t.Fatal("there was room")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.await()
	s.equal(s.logs())
	stop()
	for _, want := range []string{"no room in the binary log archive", "there is room again"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q was not told in %s", want, told)
		}
	}
}

// An archived log whose beginning is lost is archived anew, behind a gap: what there is of the old one is no log.
func TestLostBytes(t *testing.T) {
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t, build)
	s.load()
	s.once()
	if err := os.Truncate((&Archive{s.dir}).Path(s.logs()[0]), 50); err != nil {
		t.Fatal(err)
	}
	s.once()
	s.once()
	logs := s.logs()
	if len(logs) != 2 || logs[1].Gap == nil || !strings.Contains(logs[1].Gap.Reason, "damaged") {
		t.Fatalf("archived are %+v", logs)
	}
	s.equal(logs[1:])
	if err := (&Archive{s.dir}).Verify(logs[0]); !errors.Is(err, errDamaged) {
		t.Errorf("the old one is taken for whole: %v", err)
	}
}
