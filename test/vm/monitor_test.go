//go:build vm

package vm

import (
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// qmp gives qemu itself a command, as a hypervisor's management does.
func (m *machine) qmp(command string, arguments any) {
	m.t.Helper()
	conn, err := net.Dial("unix", m.file("monitor"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		m.t.Fatal(err)
	}
	in := json.NewDecoder(conn)
	if err := answered(in, "QMP"); err != nil {
		m.t.Fatal(err)
	}
	for _, c := range []map[string]any{{"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}} {
		if err := json.NewEncoder(conn).Encode(c); err != nil {
			m.t.Fatal(err)
		}
		if err := answered(in, "return"); err != nil {
			m.t.Fatalf("%s: %v", command, err)
		}
	}
}

// answered reads until the answer comes: qemu tells of events between.
func answered(in *json.Decoder, key string) error {
	for {
		var answer map[string]json.RawMessage
		if err := in.Decode(&answer); err != nil {
			return err
		}
		if problem, failed := answer["error"]; failed {
			return fmt.Errorf("%s", problem)
		}
		if _, ok := answer[key]; ok {
			return nil
		}
	}
}
