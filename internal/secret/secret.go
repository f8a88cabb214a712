// Package secret gets a password to where it is needed without showing it to anybody: from a file, from a command, from systemd, or
// from a person. It is never an argument, never in an environment, never in an error or a log, never written down.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
)

// ErrNone means that there is no password.
var ErrNone = errors.New("no password")

// longest is more than any password, and keeps us from reading a device.
const longest = 4096

// Ask asks a person. The prompt ends in ": ".
type Ask func(ctx context.Context, prompt string) (string, error)

// Source says where a password comes from. With nothing set a person is asked.
type Source struct {
	File       string
	Command    string // for sh -c
	Credential string // the name of a credential of systemd
}

// Asks reports whether a person is asked.
func (s Source) Asks() bool { return s == Source{} }

// Read gets the password. Ask may be nil: nobody is there.
func (s Source) Read(ctx context.Context, what string, ask Ask) (password string, err error) {
	from := ""
	switch {
	case s.File != "":
		from = "the file " + s.File
		password, err = fromFile(s.File)
	case s.Command != "":
		from = "the command" // which may have in it what is nobody's business
		password, err = fromCommand(ctx, s.Command)
	case s.Credential != "":
		from = "the credential " + s.Credential
		password, err = fromCredential(s.Credential)
	case ask == nil:
		return "", fmt.Errorf("%w of %s: nothing says where it comes from, and nobody is at a terminal to be asked", ErrNone, what)
	default:
		from = "the terminal"
		password, err = ask(ctx, "password of "+what+": ")
	}
	if err == nil {
		err = sound(password)
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("%w of %s from %s: %w", ErrNone, what, from, err)
	}
	return password, nil
}

// sound refuses what nobody could type at a prompt: most often it is a file that was written by mistake, and a repository that was made
// with it could not be opened with what its owner believes to be the password.
func sound(password string) error {
	switch {
	case password == "":
		return errors.New("it is empty")
	case len(password) > longest:
		return fmt.Errorf("it is longer than %d bytes", longest)
	case strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("it has more than one line, or a control character in it")
	}
	return nil
}

// fromFile reads a file that is nobody else's. One newline at its end is no part of the password.
func fromFile(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer must not hold us up
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := private(path, info); err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(f, longest+2))
	return strings.TrimSuffix(string(content), "\n"), err
}

// private refuses a file that others can read, or whose owner could give it to them.
func private(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d: type: chown root %s", st.Uid, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("it can be read by others (mode %04o): type: chmod go-rwx %s", mode, path)
	}
	return nil
}

// fromCredential reads what systemd decrypted for this service.
func fromCredential(name string) (string, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("systemd gave this process no credentials: run it as a service with LoadCredentialEncrypted=%s (docs/repository.md)", name)
	}
	return fromFile(filepath.Join(dir, name))
}
