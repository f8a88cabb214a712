package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a new one, with the end that a person has.
func terminal(t *testing.T) (person, ours *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err) // every Linux has it
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	ours, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return person, ours
}

// said is what was written to a person.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// answer waits for a prompt, and for the echo to be off, and types.
func (s *said) answer(t *testing.T, person, ours *os.File, prompt, line string) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if strings.HasSuffix(s.String(), prompt) && !echoes(t, ours) {
			break
		}
		if time.Now().After(end) {
			t.Errorf("nobody asked %q: %q", prompt, s)
			return
		}
	}
	if _, err := person.WriteString(line + "\n"); err != nil {
		t.Error(err)
	}
}

func echoes(t *testing.T, f *os.File) bool {
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Error(err)
		return false
	}
	return state.Lflag&unix.ECHO != 0
}

func TestTerminal(t *testing.T) {
	for second, want := range map[string]error{word: nil, "correct hrose": ErrNone} {
		person, ours := terminal(t)
		out := &said{}
		var typing sync.WaitGroup
		typing.Go(func() {
			out.answer(t, person, ours, "new password of it: ", word)
			out.answer(t, person, ours, "once more: ", second)
		})
		got, err := Source{}.Read(t.Context(), "it", Twice(Terminal(ours, out)))
		typing.Wait()
		if !errors.Is(err, want) || err == nil && got != word {
			t.Errorf("%q %v", got, err)
		}
		if !echoes(t, ours) {
			t.Error("the terminal has no echo any more")
		}
	}
}

// TestInterruptedPrompt: the terminal gets its echo back.
func TestInterruptedPrompt(t *testing.T) {
	_, ours := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &said{}
	time.AfterFunc(300*time.Millisecond, cancel)
	if _, err := (Source{}).Read(ctx, "it", Terminal(ours, out)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !echoes(t, ours) {
		t.Error("the terminal has no echo any more")
	}
}
