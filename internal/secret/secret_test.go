package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const word = "correct horse"

func file(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func got(t *testing.T, s Source) (string, error) {
	t.Helper()
	return s.Read(t.Context(), "it", nil)
}

func TestFile(t *testing.T) {
	for content, want := range map[string]string{word: word, word + "\n": word, " pass wörd \n": " pass wörd "} {
		if said, err := got(t, Source{File: file(t, content, 0o600)}); err != nil || said != want {
			t.Errorf("%q: %q %v", content, said, err)
		}
	}
	for content, want := range map[string]string{"": "empty", "\n": "empty", word + "\n\n": "more than one line", word + "\r\n": "control character",
		strings.Repeat("x", longest+1): "longer", "a\x00b": "control character"} {
		if _, err := got(t, Source{File: file(t, content, 0o600)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", content, err)
		}
	}
	for _, mode := range []os.FileMode{0o604, 0o640, 0o602, 0o610} {
		if _, err := got(t, Source{File: file(t, word, mode)}); err == nil || !strings.Contains(err.Error(), "chmod go-rwx") {
			t.Errorf("%o: %v", mode, err)
		}
	}
	stranger := file(t, word, 0o600)
	if err := os.Chown(stranger, 1234, 0); err == nil { // as root only
		if _, err := got(t, Source{File: stranger}); err == nil || !strings.Contains(err.Error(), "chown root") {
			t.Error(err)
		}
	}
	for _, no := range []string{t.TempDir(), "/dev/zero", "/nowhere/at/all"} {
		if _, err := got(t, Source{File: no}); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", no, err)
		}
	}
}

func TestCommand(t *testing.T) {
	if said, err := got(t, Source{Command: "echo 'correct' horse; echo more; head -c 300000 /dev/zero"}); err != nil || said != word {
		t.Errorf("%q %v", said, err)
	}
	if said, err := got(t, Source{Command: "printf 'correct horse'"}); err != nil || said != word {
		t.Errorf("%q %v", said, err)
	}
	_, err := got(t, Source{Command: "echo Zorro; echo the vault is >&2; echo sealed >&2; exit 3"})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "it said: the vault is sealed") || strings.Contains(err.Error(), "Zorro") {
		t.Error(err)
	}
	for command, want := range map[string]string{"true": "empty", "echo; echo " + word: "empty", "nothing-of-that-name": "not found", "kill -9 $$": "killed"} {
		if _, err := got(t, Source{Command: command}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", command, err)
		}
	}
}

// TestCommandThatHangs: nothing of it stays, and neither a child that keeps its output open holds us up.
func TestCommandThatHangs(t *testing.T) {
	patience = 300 * time.Millisecond
	t.Cleanup(func() { patience = time.Minute })
	left := filepath.Join(t.TempDir(), "left")
	begun := time.Now()
	_, err := got(t, Source{Command: "(sleep 2; touch " + left + ") & sleep 30"})
	if err == nil || !strings.Contains(err.Error(), "did not end within") || time.Since(begun) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	time.Sleep(2500 * time.Millisecond)
	if _, err := os.Stat(left); err == nil {
		t.Error("the command's child goes on")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Source{Command: "sleep 30"}).Read(ctx, "it", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCredential(t *testing.T) {
	path := file(t, word, 0o400)
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(path))
	if said, err := got(t, Source{Credential: "password"}); err != nil || said != word {
		t.Errorf("%q %v", said, err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := got(t, Source{Credential: "password"}); err == nil || !strings.Contains(err.Error(), "LoadCredential") {
		t.Error(err)
	}
}

func TestNobody(t *testing.T) {
	if _, err := got(t, Source{}); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "terminal") {
		t.Error(err)
	}
	if Terminal(strings.NewReader(word), os.Stderr) != nil {
		t.Error("a pipe is taken for a person")
	}
	if Twice(nil) != nil {
		t.Error("nobody is asked twice")
	}
}

// TestCommandGetsLittle: the keys of a store are none of its business, and what it says is cut short.
func TestCommandGetsLittle(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "Zorro")
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/it")
	if said, err := got(t, Source{Command: `echo "${AWS_SECRET_ACCESS_KEY-none}:$CREDENTIALS_DIRECTORY"`}); err != nil || said != "none:/run/credentials/it" {
		t.Errorf("%q %v", said, err)
	}
	_, err := got(t, Source{Command: `printf '\033[2Jsealed '; printf '\033[2Jsealed ' >&2; head -c 3000 /dev/zero | tr '\0' x >&2; false`})
	if err == nil || !strings.Contains(err.Error(), "[2Jsealed xxx") || strings.ContainsRune(err.Error(), 27) || len(err.Error()) > 350 {
		t.Error(err)
	}
}
