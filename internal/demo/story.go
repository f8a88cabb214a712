package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/fatih/color"
	"golang.org/x/term"
)

// columns is the width that everything is told in.
const columns = 100

// story tells what happens: numbered steps, a sentence or two, then commands with their real output behind a bar.
type story struct {
	mu   sync.Mutex
	out  io.Writer
	step int

	heading, prompt, faint, good, bad *color.Color
}

func newStory(out io.Writer) *story {
	s := &story{
		out:     out,
		heading: color.New(color.Bold),
		prompt:  color.New(color.FgCyan),
		faint:   color.New(color.Faint),
		good:    color.New(color.FgGreen),
		bad:     color.New(color.FgRed),
	}
	colourful := isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	for _, c := range []*color.Color{s.heading, s.prompt, s.faint, s.good, s.bad} {
		if colourful {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
	}
	return s
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (s *story) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintln(s.out, strings.TrimRight(text, " ")) // a reader who went away is no reason to stop: the work is in the lab
}

// title opens the next step.
func (s *story) title(format string, args ...any) {
	s.step++
	s.line("")
	s.line(s.heading.Sprintf("%d  %s", s.step, fmt.Sprintf(format, args...)))
}

// say is narration.
func (s *story) say(format string, args ...any) {
	for _, l := range wrap(fmt.Sprintf(format, args...), columns-3, "") {
		s.line("   " + l)
	}
}

// ok is something that was checked and holds.
func (s *story) ok(format string, args ...any) {
	s.line("   " + s.good.Sprint("ok") + "  " + fmt.Sprintf(format, args...))
}

// typed shows a command as a person types it, a long one on several lines.
func (s *story) typed(prompt, command string) {
	more := " \\"
	if strings.HasSuffix(prompt, ">") {
		more = "" // SQL goes on by itself
	}
	parts := wrap(command, columns-len(prompt)-6, "    ")
	for i, l := range parts {
		if i+1 < len(parts) {
			l += more
		}
		s.line("   " + s.prompt.Sprint(prompt) + " " + l)
		prompt = strings.Repeat(" ", len(prompt))
	}
}

// said shows a line of a command's output.
func (s *story) said(text string) {
	text = strings.ReplaceAll(text, "\t", "    ")
	for _, l := range wrap(text, columns-5, "    ") {
		s.line("   " + s.faint.Sprint("│") + " " + l)
	}
}

// lines turns what is written to it into lines for tell; the rest of an unfinished line comes with flush.
type lines struct {
	mu   sync.Mutex
	rest []byte
	tell func(string)
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.tell(strings.TrimRight(string(l.rest[:i]), "\r"))
		l.rest = l.rest[i+1:]
	}
}

func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.tell(string(l.rest))
		l.rest = nil
	}
}

// wrap breaks text between words; lines after the first begin with the text's own indentation and hang.
func wrap(text string, width int, hang string) []string {
	indent := len(text) - len(strings.TrimLeft(text, " "))
	hang = strings.Repeat(" ", min(indent, width/3)) + hang
	var out []string
	rest := []rune(text)
	for len(rest) > width {
		cut := width
		for cut > len(hang) && rest[cut] != ' ' {
			cut--
		}
		if cut <= len(hang) {
			cut = width // one very long word
		}
		out = append(out, strings.TrimRight(string(rest[:cut]), " "))
		rest = []rune(hang + strings.TrimLeft(string(rest[cut:]), " "))
	}
	return append(out, string(rest))
}
