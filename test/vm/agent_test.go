//go:build vm

package vm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// agent speaks to the QEMU guest agent, the only way into the machine: it has no network.
type agent struct {
	mu   sync.Mutex
	conn net.Conn
	in   *bufio.Reader
}

// answerLimit is how long one answer may take: the machine is emulated, and others may use the processors.
const answerLimit = 2 * time.Minute

// dialAgent connects and proves that the agent listens: what a client before us left in the line is thrown away.
func dialAgent(socket string, limit time.Duration) (*agent, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	a := &agent{conn: conn, in: bufio.NewReader(conn)}
	if err := a.sync(limit); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return a, nil
}

// delimiter stands before the answer to guest-sync-delimited, and never in JSON.
const delimiter = 0xff

func (a *agent) sync(limit time.Duration) error {
	if err := a.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	id := rand.Int64N(1 << 40)
	if _, err := fmt.Fprintf(a.conn, "%c{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%d}}\n", delimiter, id); err != nil {
		return err
	}
	for {
		if _, err := a.in.ReadBytes(delimiter); err != nil {
			return err
		}
		line, err := a.in.ReadBytes('\n')
		if err != nil {
			return err
		}
		if bytes.Contains(line, fmt.Append(nil, id)) {
			return nil
		}
	}
}

// call runs one command of the agent.
func (a *agent) call(command string, arguments, result any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	request, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return err
	}
	if err := a.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	if _, err := a.conn.Write(append(request, '\n')); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	line, err := a.in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var answer struct {
		Return json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("%s: %w: %q", command, err, line)
	}
	if answer.Error != nil {
		return fmt.Errorf("%s: %s", command, answer.Error)
	}
	return json.Unmarshal(answer.Return, result)
}

// outcome is what a command in the machine left.
type outcome struct {
	Exited bool   `json:"exited"`
	Code   int    `json:"exitcode"`
	Stdout []byte `json:"out-data"`
	Stderr []byte `json:"err-data"`
}

// run starts a shell script in the machine and waits for its end.
func (a *agent) run(script, input string) (outcome, error) {
	var started struct {
		PID int `json:"pid"`
	}
	var out outcome
	arguments := map[string]any{"path": "/bin/bash", "arg": []string{"-c", script}, "capture-output": true, "input-data": []byte(input)}
	if err := a.call("guest-exec", arguments, &started); err != nil {
		return out, err
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if err := a.call("guest-exec-status", started, &out); err != nil || out.Exited {
			return out, err
		}
		time.Sleep(pause)
	}
}
