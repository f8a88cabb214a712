package scripts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/service"
)

func TestPreAndPost(t *testing.T) {
	s := newScene(t)
	s.config["preScriptParams"], s.config["postScriptParams"] = []any{"a b", "", 7, true}, []any{"$HOME"}
	s.pre(`echo "pre $# <$1> <$2> <$3> <$4>" >> did; pwd`)
	c := s.cycle(func() {
		if got := s.did(); got != "pre 4 <a b> <> <7> <true>" {
			t.Errorf("before the cut: %q", got)
		}
	})
	c.well(t, "post $HOME")
	s.nothingLeft()
	if !strings.Contains(s.log.String(), "The pre script says: "+s.dir) {
		t.Errorf("the log: %s", s.log.String())
	}
}

func TestInterpreters(t *testing.T) {
	for name, c := range map[string]struct{ text, did string }{
		"bash":            {"#!/bin/bash\n[[ a == a ]] && declare -A m=([x]=bash) && echo ${m[x]} >> did", "bash; post"},
		"bash by env":     {"#!/usr/bin/env bash\n[[ -n $BASH_VERSION ]] && echo env >> did", "env; post"},
		"an argument":     {"#!/bin/bash -e\nfalse\necho wrong >> did", "post"},
		"none is sh":      {"echo ${BASH_VERSION:-dash} >> did", "dash; post"},
		"python":          {"#!/usr/bin/python3\nimport sys; open(sys.argv[1] + '/did', 'a').write('python\\n')", "python; post"},
		"not there":       {"#!/no/such/interpreter\necho wrong >> did", "post"},
		"spaces before":   {"#!  /bin/bash\n[[ a == a ]] && echo spaced >> did", "spaced; post"},
		"without a slash": {"#!/bin/sh", "post"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.config["preScriptParams"] = []any{s.dir}
			s.pre(c.text)
			s.post("echo post >> did")
			got := s.cycle()
			if got.did != c.did {
				t.Errorf("did %q (%v)", got.did, got.Unheld)
			}
			if wrong := name == "an argument" || name == "not there"; wrong != (got.Unheld != nil) {
				t.Errorf("unheld: %v", got.Unheld)
			}
		})
	}
}

// A script that is only readable runs too: Azure's own host gives it to sh.
func TestNoExecBitIsNeeded(t *testing.T) {
	s := newScene(t)
	s.pre("#!/bin/bash\n[[ a == a ]] && echo pre >> did")
	s.must(os.Chmod(s.path("pre.sh"), 0o600))
	s.cycle().well(t, "pre; post")
}

func TestRetriesRerun(t *testing.T) {
	s := newScene(t)
	s.config["preScriptNoOfRetries"], s.config["postScriptNoOfRetries"] = 3, 1
	s.pre(`echo try >> did; [ $(grep -c try did) -ge 3 ]`)
	s.post(`echo post >> did; [ $(grep -c post did) -ge 2 ]`)
	c := s.cycle()
	c.well(t, "try; try; try; post; post")
	if c.Scripts[0].Tries != 3 || c.Scripts[1].Tries != 2 {
		t.Errorf("%+v", c.Scripts)
	}
}

func TestRetriesEnd(t *testing.T) {
	s := newScene(t)
	s.config["preScriptNoOfRetries"] = 1
	s.pre(`echo try >> did; echo no luck >&2; exit 7`)
	c := s.cycle()
	c.failed(t, pre, 300, c.Unheld)
	if c.did != "try; try; post" || c.Scripts[0].Tries != 2 || c.Scripts[0].Exit != 7 || !strings.Contains(c.Unheld.Error(), "no luck") {
		t.Errorf("%q %+v %v", c.did, c.Scripts[0], c.Unheld)
	}
	s.nothingLeft()
}

// Exit code 2 is what dash makes of Bash: it is a failure, though Azure's own host forgives it.
func TestEveryOtherCodeIsAFailure(t *testing.T) {
	for _, exit := range []int{1, 2, 3, 255} {
		s := newScene(t)
		s.config["continueBackupOnFailure"] = false
		s.pre("exit " + strconv.Itoa(exit))
		c := s.cycle()
		c.failed(t, pre, 300, c.act)
		if c.did != "post" || c.undo != nil {
			t.Errorf("%d: did %q, undo %v", exit, c.did, c.undo)
		}
	}
}

func TestOneBudgetOverAllTries(t *testing.T) {
	s := newScene(t)
	s.config["timeoutInSeconds"], s.config["preScriptNoOfRetries"] = 1.5, 50
	s.pre(`echo try >> did; sleep 0.4; exit 1`)
	c := s.cycle()
	if c.took > 4*time.Second || c.Scripts[0].Tries < 2 || c.Scripts[0].Tries > 3 {
		t.Errorf("%v, %+v", c.took, c.Scripts[0])
	}
}

// A timeout kills all that the script started, and the post comes after that.
func TestTimeoutKillsTheGroup(t *testing.T) {
	for name, trap := range map[string]string{"willing": "", "deaf": "trap '' TERM; "} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.config["timeoutInSeconds"] = 1
			s.pre(trap + `(while :; do echo late >> held; sleep 0.05; done) & echo $! > grandchild; sleep 1000`)
			s.post(`rm -f held; echo post >> did`)
			c := s.cycle()
			c.failed(t, pre, 308, c.Unheld)
			if c.did != "post" || c.Scripts[0].Exit != -1 {
				t.Errorf("did %q, %+v", c.did, c.Scripts[0])
			}
			time.Sleep(200 * time.Millisecond)
			if _, err := os.Stat(s.path("held")); err == nil {
				t.Error("something of the pre acted after the post")
			}
			pid, err := os.ReadFile(s.path("grandchild"))
			s.must(err)
			number, err := strconv.Atoi(strings.TrimSpace(string(pid)))
			s.must(err)
			if service.Lives(number) {
				t.Error("the grandchild lives")
			}
			s.nothingLeft()
		})
	}
}

func TestTimeoutOfThePost(t *testing.T) {
	s := newScene(t)
	s.config["timeoutInSeconds"] = 1
	s.post(`echo post >> did; sleep 1000`)
	c := s.cycle()
	c.failed(t, post, 309, c.undo)
	if !errors.Is(c.undo, database.ErrStillHeld) || c.act != nil || c.Unheld != nil {
		t.Errorf("%v; %v; %v", c.undo, c.act, c.Unheld)
	}
}

// A failed post is owed: the next undo runs it again.
func TestFailedPostIsOwed(t *testing.T) {
	for _, goesOn := range []bool{true, false} {
		t.Run(fmt.Sprint("continue ", goesOn), func(t *testing.T) {
			s := newScene(t)
			s.config["continueBackupOnFailure"] = goesOn
			s.post(`echo post >> did; [ -e mended ]`)
			h, err := s.server().NewHold(t.Context())
			s.must(err)
			defer h.Close()
			step := h.Step(database.Budget{})
			_, err = step.Act(t.Context())
			s.must(err)
			if err := step.Undo(t.Context()); err == nil || errors.Is(err, database.ErrStillHeld) != goesOn || !strings.Contains(err.Error(), "code 301") {
				t.Errorf("undo: %v", err)
			}
			if err := s.later(step); err == nil {
				t.Error("a later process forgave it")
			}
			s.must(os.WriteFile(s.path("mended"), nil, 0o600))
			s.must(s.later(step))
			s.must(s.later(step))
			if did := s.did(); did != "pre; post; post; post" {
				t.Errorf("did %q", did)
			}
			s.nothingLeft()
		})
	}
}

func TestMuchOutput(t *testing.T) {
	s := newScene(t)
	s.pre(`head -c 1048576 /dev/zero | tr '\0' x; echo; echo the end; head -c 300000 /dev/zero | tr '\0' y >&2`)
	c := s.cycle()
	c.well(t, "post")
	if n := s.log.Len(); n > 4*keptOutput || !strings.Contains(s.log.String(), "bytes before this are left out") {
		t.Errorf("%d bytes in the log", n)
	}
}

// What a pre leaves running is what holds the application: it lives, and can go on writing, until its post ends it.
func TestHolderOutlivesThePre(t *testing.T) {
	s := newScene(t)
	s.pre(`(trap 'echo released >> did; exit' TERM; while :; do echo still here; sleep 0.02; done) & echo $! > holder; echo pre >> did`)
	s.post(`kill $(cat holder); while kill -0 $(cat holder) 2>/dev/null; do sleep 0.02; done; echo post >> did`)
	c := s.cycle(func() { time.Sleep(300 * time.Millisecond) })
	c.well(t, "pre; released; post")
}

func TestInterrupted(t *testing.T) {
	s := newScene(t)
	s.pre(`echo pre >> did; sleep 1000; echo wrong >> did`)
	h, err := s.server().NewHold(t.Context())
	s.must(err)
	defer h.Close()
	step := h.Step(database.Budget{})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := step.Act(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("act: %v", err)
	}
	s.must(step.Undo(t.Context()))
	if did := s.did(); did != "pre; post" {
		t.Errorf("did %q", did)
	}
	s.nothingLeft()
}

func TestWindow(t *testing.T) {
	s := newScene(t)
	s.pre("sleep 0.2")
	s.post("sleep 0.3")
	h, err := s.server().NewHold(t.Context())
	s.must(err)
	defer h.Close()
	step := h.Step(database.Budget{})
	_, err = step.Act(t.Context())
	s.must(err)
	s.must(step.Undo(t.Context()))
	w := h.Window()
	if w.Held.Sub(w.Asked) < 200*time.Millisecond || w.Released.Sub(w.Held) < 300*time.Millisecond {
		t.Errorf("%+v", w)
	}
}
