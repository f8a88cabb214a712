package demo

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEverythingFitsTheColumns(t *testing.T) {
	var out bytes.Buffer
	s := newStory(&out)
	long := strings.Repeat("some words of narration and ", 12)
	s.say("%s", long)
	s.said("\t" + long + strings.Repeat("x", 250))
	s.typed("node-c#", "holdstill replica 20261122T132100Z --datadir /var/tmp/holdstill-demo/disk-c/data "+long)
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colours where there is no terminal")
	}
}

func TestTypedCommandsCanBePasted(t *testing.T) {
	var out bytes.Buffer
	s := newStory(&out)
	command := "holdstill replica POINT " + strings.Repeat("--option value ", 12) + "end"
	s.typed("node-c#", command)
	pasted := ""
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "node-c#"))
		pasted += strings.TrimSuffix(line, "\\")
	}
	if got := strings.Join(strings.Fields(pasted), " "); got != command {
		t.Errorf("got %q\nwant %q", got, command)
	}
	out.Reset()
	s.typed("node-a sql>", "SELECT 1, "+strings.Repeat("22222222, ", 20)+"3")
	if strings.Contains(out.String(), "\\") {
		t.Errorf("a backslash in SQL: %s", &out)
	}
}

func TestWrapLosesNothing(t *testing.T) {
	for _, text := range []string{"", "short", "   indented " + strings.Repeat("word ", 60) + "end", strings.Repeat("ä", 350), strings.Repeat(" ", 300) + "x"} {
		parts := wrap(text, 80, "  ")
		joined := strings.ReplaceAll(strings.Join(parts, ""), " ", "")
		if joined != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%q became %q", text, parts)
		}
	}
}

func TestLinesComeWholeAndInOrder(t *testing.T) {
	var got []string
	l := &lines{tell: func(s string) { got = append(got, s) }}
	for _, piece := range []string{"a", "b\nc", "\r\n", "\n", "rest"} {
		if _, err := l.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	l.flush()
	if strings.Join(got, "|") != "ab|c||rest" {
		t.Errorf("got %q", got)
	}
}

func TestBehind(t *testing.T) {
	source := newest{id: 120, written: 1000.5}
	for _, c := range []struct {
		replica newest
		want    string
	}{
		{newest{id: 120, written: 1000.5}, "nothing"},
		{newest{id: 121, written: 1000.6}, "nothing"},
		{newest{id: 119, written: 1000.495}, "1 row 5ms"},
		{newest{id: 20, written: 970}, "100 rows 30.5s"},
		{newest{err: errTest}, "?"},
	} {
		if got := c.replica.behind(source); got != c.want {
			t.Errorf("%+v: %q, want %q", c.replica, got, c.want)
		}
	}
}

var errTest = errors.New("down")
