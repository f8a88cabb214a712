package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Terminal asks the person at the terminal that in is; nil if it is none.
func Terminal(in io.Reader, out io.Writer) Ask {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(ctx context.Context, prompt string) (string, error) {
		fmt.Fprint(out, prompt)
		defer fmt.Fprintln(out)
		return read(ctx, int(f.Fd()))
	}
}

// read waits for a line that is not shown. An interrupt ends the wait, and gives the terminal its echo back.
func read(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	type answer struct {
		line []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- answer{line, err}
	}()
	select {
	case a := <-done:
		if errors.Is(a.err, io.EOF) {
			a.err = errors.New("the input has ended")
		}
		return string(a.line), a.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}

// Twice asks a second time, for a password that is new: a slip of the finger would make all that is stored unreadable.
func Twice(ask Ask) Ask {
	if ask == nil {
		return nil
	}
	return func(ctx context.Context, prompt string) (string, error) {
		first, err := ask(ctx, "new "+prompt)
		if err != nil {
			return "", err
		}
		second, err := ask(ctx, "once more: ")
		if err == nil && first != second {
			err = errors.New("the two are not the same")
		}
		return first, err
	}
}
