package browse

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestNotesOfTheDeadAreSwept(t *testing.T) {
	base := t.TempDir()
	notes, dir := filepath.Join(base, "mounts"), filepath.Join(base, "at")
	must(t, os.Mkdir(dir, 0o755))
	n := &Note{Dir: dir, Point: "p1", Made: true}
	must(t, n.Write(notes))
	if err := (&Note{Dir: dir}).Write(notes); !errors.Is(err, ErrBusy) {
		t.Errorf("two mount at one place: %v", err)
	}
	if found := given(NoteOf(notes, dir))(t); found == nil || !found.Alive() || found.Point != "p1" || found.PID != os.Getpid() {
		t.Errorf("found %+v", found)
	}
	if swept := given(Sweep(notes, slog.New(slog.DiscardHandler)))(t); len(swept) != 0 {
		t.Errorf("the living were swept: %+v", swept)
	}
	must(t, n.Settle()) // as a death would let go of it
	if swept := given(Sweep(notes, slog.New(slog.DiscardHandler)))(t); len(swept) != 1 {
		t.Errorf("swept %+v", swept)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory: %v", err)
	}
	if left := given(os.ReadDir(notes))(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPrepareRefuses(t *testing.T) {
	base := t.TempDir()
	full := filepath.Join(base, "full")
	must(t, os.MkdirAll(filepath.Join(full, "something"), 0o755))
	file := filepath.Join(base, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{full, file, "/proc"} {
		if _, err := Prepare(dir); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if made, err := Prepare(filepath.Join(base, "new")); err != nil || !made {
		t.Errorf("made %v: %v", made, err)
	}
	if made, err := Prepare(filepath.Join(base, "new")); err != nil || made {
		t.Errorf("made %v: %v", made, err)
	}
}
