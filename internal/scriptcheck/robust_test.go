package scriptcheck

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is no script gives nothing, or says that it cannot be read.
func TestWhatIsNoScript(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    string
	}{
		"empty":             {"", ""},
		"blank":             {" \n\n", ""},
		"program":           {"\x7fELF\x02\x01\x01\x00\x00sleep 5", ""},
		"not closed":        {"#!/bin/sh\necho 'abc\nsleep 5\n", "2 unreadable"},
		"no shell":          {"#!/bin/bash\nif then fi (((\n", "2 unreadable"},
		"unknown language":  {"#!/usr/bin/perl\nsleep 5;\n", ""},
		"not closed python": {"#!/usr/bin/python3\nx = '''abc\nsleep(5)\n", ""},
		"too long":          {"#!/bin/sh\n" + strings.Repeat("# x\n", largest/4), "1 unreadable"},
		"grows":             {"A=aaaaaaaa\n" + strings.Repeat("A=$A$A\n", 60) + "mysql -e \"$A\"", ""},
		"deep with words":   {"#!/bin/sh\n" + strings.Repeat("if ", largest/4), "2 unreadable"},
		"calls itself":      {"f() { f \"$@\"; f \"$@\"; }\nf a", ""},
		"calls each other":  {"f() { g; g; }\ng() { f; f; }\nf", ""},
		"sources itself":    {". /x.sh\n. /x.sh", ""},
		"evals itself":      {"A='eval \"$A\"; eval \"$A\"'\neval \"$A\"", ""},
		"deep":              {"#!/bin/sh\n" + strings.Repeat("(", largest/2), "1 unreadable"},
		"deep and closed":   {"#!/bin/sh\n" + strings.Repeat("( ", 20000) + "sleep 5" + strings.Repeat(" )", 20000), "1 unreadable"},
		"deep substitution": {"#!/bin/sh\necho " + strings.Repeat("$(", largest/3), "1 unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			got := said(Check([]Script{{Path: "/x.sh", Content: []byte(c.content), Purpose: Pre}}, World{}))
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// seeds are all scripts of testdata.
func seeds(t testing.TB) [][]byte {
	files, _ := filepath.Glob("testdata/*/*/*")
	var out [][]byte
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, content)
	}
	return out
}

// Whatever a file holds, doctor goes on: broken scripts are read with the panic guard off.
func TestBrokenScripts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	all := seeds(t)
	for range 600 {
		b := append([]byte(nil), all[r.IntN(len(all))]...)
		for range 1 + r.IntN(8) {
			switch at := r.IntN(len(b)); r.IntN(4) {
			case 0:
				b[at] = byte(1 + r.IntN(255))
			case 1:
				b = append(b[:at:at], b[min(at+r.IntN(20), len(b)-1):]...)
			case 2:
				other := all[r.IntN(len(all))]
				from := r.IntN(len(other))
				b = append(b[:at:at], append(append([]byte(nil), other[from:min(from+30, len(other))]...), b[at:]...)...)
			case 3:
				b[at] = "'\"`$(){}[]|&;<>\\\n"[r.IntN(17)]
			}
		}
		tryAll(t, b)
	}
}

func tryAll(t testing.TB, content []byte) {
	t.Helper()
	for _, by := range []string{"", BySh, ByBash, ByPython, BySQL} {
		s := Script{Path: "/x.sh", Content: content, Purpose: Both, RunBy: by}
		v := open(&group{scripts: []Script{s}}, s)
		if v.fault == panicked {
			t.Fatalf("it panicked, run by %q:\n%s", by, content)
		}
		References(s)
		for _, f := range Check([]Script{s, {Path: "/y.sh", Content: content, Purpose: Post}}, World{}) {
			if f.Line < 1 || f.Line > strings.Count(string(content), "\n")+1 {
				t.Fatalf("line %d is not of the script: %+v\n%s", f.Line, f, content)
			}
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content []byte) { tryAll(t, content) })
}
