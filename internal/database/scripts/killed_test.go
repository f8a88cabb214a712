package scripts

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/undo"
)

// childSpec tells this test binary to hold an application, and to wait for its end.
const childSpec = "HOLDSTILL_TEST_SCRIPTS"

func TestMain(m *testing.M) {
	if text := os.Getenv(childSpec); text != "" {
		os.Exit(child(text))
	}
	os.Exit(m.Run())
}

// child prints the deed, acts, says so, and takes back when it is told to.
func child(text string) int {
	var spec Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		panic(err)
	}
	h, err := Open(spec, slog.New(slog.DiscardHandler)).NewHold(context.Background())
	if err != nil {
		panic(err)
	}
	step := h.Step(database.Budget{})
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(step.Deed)
	_, err = step.Act(context.Background())
	_ = out.Encode(err == nil)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	_ = step.Undo(context.Background())
	return 0
}

// holder is a process that holds, to be killed.
type holder struct {
	s    *scene
	cmd  *exec.Cmd
	out  *json.Decoder
	deed undo.Deed
	in   io.Writer
}

func (s *scene) holder() *holder {
	s.t.Helper()
	server := s.server()
	spec, err := json.Marshal(server.spec)
	s.must(err)
	h := &holder{s: s, cmd: exec.Command("/proc/self/exe")}
	h.cmd.Env = append(os.Environ(), childSpec+"="+string(spec))
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	s.must(err)
	h.in, err = h.cmd.StdinPipe()
	s.must(err)
	s.must(h.cmd.Start())
	h.out = json.NewDecoder(out)
	s.must(h.out.Decode(&h.deed))
	return h
}

func (h *holder) held() {
	h.s.t.Helper()
	var ok bool
	h.s.must(h.out.Decode(&ok))
	if !ok {
		h.s.t.Fatal("the act failed")
	}
}

func (h *holder) kill() {
	h.s.t.Helper()
	h.s.must(h.cmd.Process.Kill())
	_ = h.cmd.Wait()
}

// await waits for a file that a script writes, and returns the process number in it.
func (s *scene) await(name string) int {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		content, err := os.ReadFile(s.path(name))
		if err == nil && strings.HasSuffix(string(content), "\n") {
			number, err := strconv.Atoi(strings.TrimSpace(string(content)))
			s.must(err)
			return number
		}
	}
	s.t.Fatalf("no %s", name)
	return 0
}

// A killed run's pre, that goes on, is ended with all that it started before the post is run.
func TestKilledInThePre(t *testing.T) {
	s := newScene(t)
	s.config["postScriptParams"] = []any{"with", "params"}
	s.pre(`(while :; do echo late >> held; sleep 0.05; done) & echo $! > grandchild; sleep 1000`)
	s.post(`rm -f held; echo post "$@" >> did`)
	h := s.holder()
	grandchild := s.await("grandchild")
	h.kill()
	if !service.Lives(grandchild) {
		t.Fatal("it ended without us: the test proves nothing")
	}
	s.must(Undoer(t.Context(), h.deed))
	if service.Lives(grandchild) {
		t.Error("the grandchild lives")
	}
	time.Sleep(200 * time.Millisecond)
	if _, err := os.Stat(s.path("held")); err == nil {
		t.Error("something of the pre acted after the post")
	}
	s.must(Undoer(t.Context(), h.deed)) // again: nothing is left to do
	if did := s.did(); did != "post with params" {
		t.Errorf("did %q", did)
	}
	s.nothingLeft()
}

// What a pre left running when it ended is for its post to end, not for us.
func TestKilledWhileHeld(t *testing.T) {
	s := newScene(t)
	s.pre(`(trap 'echo released >> did; exit' TERM; while :; do sleep 0.02; done) > /dev/null 2>&1 & echo $! > lock; echo pre >> did`)
	s.post(`kill $(cat lock) && sleep 0.2; echo post >> did`)
	h := s.holder()
	h.held()
	h.kill()
	s.must(Undoer(t.Context(), h.deed))
	if did := s.did(); did != "pre; released; post" {
		t.Errorf("did %q", did)
	}
	s.nothingLeft()
}

// A post that goes on by itself gets its time, and is run again: nobody knows how it ended.
func TestKilledInThePost(t *testing.T) {
	s := newScene(t)
	s.post(`echo begin >> did; echo $$ > running; sleep 1; echo end >> did`)
	h := s.holder()
	h.held()
	_, err := h.in.Write([]byte("\n"))
	s.must(err)
	s.await("running")
	h.kill()
	s.must(Undoer(t.Context(), h.deed))
	if did := s.did(); did != "pre; begin; end; begin; end" {
		t.Errorf("did %q", did)
	}
	s.nothingLeft()
}

// A promise whose act never began owes nothing, as long as one can know.
func TestNeverBegun(t *testing.T) {
	s := newScene(t)
	h, err := s.server().NewHold(t.Context())
	s.must(err)
	step := h.Step(database.Budget{})
	s.must(s.later(step))
	s.must(step.Undo(t.Context()))
	s.must(h.Close())
	if did := s.did(); did != "" {
		t.Errorf("did %q", did)
	}
}

// After a reboot nobody knows what had begun: the posts are run, once.
func TestAfterAReboot(t *testing.T) {
	s := newScene(t)
	h, err := s.server().NewHold(t.Context())
	s.must(err)
	defer h.Close()
	deed := h.Step(database.Budget{}).Deed
	deed.Args = []byte(strings.Replace(string(deed.Args), undo.BootID(), "another boot", 1))
	s.post(`echo post >> did; [ -e mended ]`)
	if err := Undoer(t.Context(), deed); err == nil || !strings.Contains(err.Error(), "code 301") {
		t.Errorf("%v", err)
	}
	s.must(os.WriteFile(s.path("mended"), nil, 0o600))
	s.must(Undoer(t.Context(), deed))
	if did := s.did(); did != "post; post" {
		t.Errorf("did %q", did)
	}
	s.nothingLeft()
}

// A post that others could have changed meanwhile is not run by recover either.
func TestLaterPermissions(t *testing.T) {
	s := newScene(t)
	h := s.holder()
	h.held()
	h.kill()
	s.must(os.Chmod(s.path("post.sh"), 0o777))
	if err := Undoer(t.Context(), h.deed); err == nil || !strings.Contains(err.Error(), "code 307") {
		t.Errorf("%v", err)
	}
	s.must(os.Chmod(s.path("post.sh"), 0o700))
	s.must(Undoer(t.Context(), h.deed))
	if did := s.did(); did != "pre; post" {
		t.Errorf("did %q", did)
	}
}
