package databasetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// holderSocket in the environment makes this test binary hold the server there.
const holderSocket = "HOLDSTILL_TEST_HOLDER_SOCKET"

const holderBudget = time.Second

// holder takes a hold, prints its deed, waits for a line, and prints how the release went.
func holder(mk Make, socket string) {
	ctx := context.Background()
	step, err := holderStep(ctx, mk, socket)
	if err == nil {
		_, err = step.Act(ctx)
	}
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	deed, _ := json.Marshal(step.Deed)
	fmt.Println(string(deed))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Println("lost:", errors.Is(step.Undo(ctx), database.ErrHoldLost))
}

func holderStep(ctx context.Context, mk Make, socket string) (undo.Step[database.Position], error) {
	var none undo.Step[database.Position]
	s, err := mk.Open(ctx, database.Endpoint{Socket: socket})
	if err != nil {
		return none, err
	}
	h, err := s.NewHold(ctx)
	if err == nil {
		err = h.Approach(ctx)
	}
	if err != nil {
		return none, err
	}
	return h.Step(database.Within(holderBudget)), nil
}

// child is a holder.
type child struct {
	*exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	deed undo.Deed
}

func (f *fixture) child(t *testing.T) *child {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	c := &child{Cmd: exec.Command(self)}
	c.Env = append(os.Environ(), holderSocket+"="+f.source.Socket)
	c.in, err = c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	c.out = bufio.NewReader(out)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := c.out.ReadString('\n')
	must(t, err)
	if err := json.Unmarshal([]byte(line), &c.deed); err != nil {
		t.Fatalf("the holder says %s", line)
	}
	return c
}

// testStopped: a process that is stopped cannot watch its own budget; the server ends the session.
func (f *fixture) testStopped(t *testing.T) {
	w := f.writer(t)
	c := f.child(t)
	must(t, c.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	time.Sleep(slack)
	waitForAck(t, w)
	took := time.Since(stopped)
	t.Logf("writers went on %v after the holder was stopped", took)
	if took > holderBudget+2500*time.Millisecond {
		t.Error("that is too late")
	}
	must(t, c.Process.Signal(syscall.SIGCONT))
	_, err := io.WriteString(c.in, "\n")
	must(t, err)
	line, err := c.out.ReadString('\n')
	must(t, err)
	if strings.TrimSpace(line) != "lost: true" {
		t.Errorf("the holder says %s", line)
	}
}

func (f *fixture) testKilledProcess(t *testing.T) {
	w := f.writer(t)
	c := f.child(t)
	must(t, c.Process.Kill())
	must(t, f.Undoers[c.deed.Kind](t.Context(), c.deed))
	waitForAck(t, w)
	must(t, f.Undoers[c.deed.Kind](t.Context(), c.deed))
}

// testUndoLock: a later process breaks a hold whose process still stands there, but never a connection of somebody else.
func (f *fixture) testUndoLock(t *testing.T) {
	s := f.server(t, f.other)
	h, err := hold(t, s, 30*time.Second)
	must(t, err)
	again := f.Undoers[h.step.Deed.Kind]
	other := strings.Replace(string(h.step.Deed.Args), `"user":"root"`, `"user":"somebody"`, 2)
	stranger := h.step.Deed
	stranger.Args = json.RawMessage(strings.Replace(other, `"user":"somebody"`, `"user":"root"`, 1)) // the endpoint's
	must(t, again(t.Context(), stranger))
	h.release(t)

	h, err = hold(t, s, 30*time.Second)
	must(t, err)
	must(t, again(t.Context(), h.step.Deed))
	checkLost(t, h)

	h, err = hold(t, s, 30*time.Second)
	must(t, err)
	must(t, f.other.Kill())
	must(t, again(t.Context(), h.step.Deed)) // no server
	checkLostServer(t, h)
	must(t, f.other.Start(t.Context()))
	must(t, again(t.Context(), h.step.Deed)) // another server process
}

// checkLostServer: the connection is gone with its server, and nothing can be asked any more.
func checkLostServer(t *testing.T, h *taken) {
	t.Helper()
	if err := h.step.Undo(context.Background()); !errors.Is(err, database.ErrHoldLost) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
	must(t, h.step.Undo(context.Background()))
	_ = h.Close()
}
