package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

// googleHost is the snapshot service of Google Compute Engine, as Debian's google-guest-agent knows it: gRPC, over which the agent waits
// for requests, and answers each.
type googleHost struct {
	shop     *shop
	requests chan []byte
	answers  chan googleAnswer
	last     byte // operation
}

// googleAnswer is what the agent says of a script.
type googleAnswer struct{ operation, script, agent, kind uint64 }

// What it asks for, and its word for a script that failed.
const (
	googlePre, googlePost = 1, 2
	googleScriptFailed    = 4
)

// googleConfig makes the agent leave the machine alone, and look for its service at a socket in its directory.
const googleConfig = `[InstanceSetup]
network_enabled = false
optimize_local_ssd = false
set_multiqueue = false

[Snapshots]
enabled = false
snapshot_service_ip = unix
snapshot_service_port = 8081
`

func (s *shop) googleHost() *googleHost {
	t := s.t
	t.Helper()
	program := filepath.Join(lab.Servers(), "google-guest-agent", "usr", "bin", "google_guest_agent")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: make servers fetches it", err)
	}
	g := &googleHost{shop: s, requests: make(chan []byte), answers: make(chan googleAnswer, 1)}
	dir := s.agentDir()
	listener := must(net.Listen("unix", filepath.Join(dir, "8081")))(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/cloud.vmm.SnapshotService/CreateConnection", g.connection)
	mux.HandleFunc("/cloud.vmm.SnapshotService/HandleResponsesFromGuest", g.response)
	server := &http.Server{Handler: mux, Protocols: &http.Protocols{}}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	check(t, os.WriteFile(filepath.Join(dir, "etc", "default", "instance_configs.cfg"), []byte(googleConfig), 0o600))
	s.startAgent(dir, "gcp", "exec "+program)
	return g
}

// connection gives the agent every request that there is, for ever.
func (g *googleHost) connection(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case request := <-g.requests:
			_, _ = w.Write(framed(request))
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// response takes the agent's answer.
func (g *googleHost) response(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var a googleAnswer
	fields := []*uint64{nil, &a.operation, &a.script, &a.agent, &a.kind}
	for in := bytes.NewReader(body[min(5, len(body)):]); in.Len() > 0; {
		key, _ := binary.ReadUvarint(in)
		value, err := binary.ReadUvarint(in)
		if err != nil || key>>3 == 0 || int(key>>3) >= len(fields) {
			g.shop.t.Errorf("the agent's answer is not understood: %x", body)
			break
		}
		*fields[key>>3] = value
	}
	w.Header().Set("Content-Type", "application/grpc")
	_, _ = w.Write(framed(nil))
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	g.answers <- a
}

// framed is a message of gRPC, not compressed.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// ask has the agent run a script for the disks, and waits for what it says.
func (g *googleHost) ask(kind byte, disks string) (googleAnswer, time.Duration) {
	t := g.shop.t
	t.Helper()
	g.last++
	request := append([]byte{1 << 3, g.last, 2<<3 | 2, byte(len(disks))}, disks...)
	request = append(request, 3<<3, kind)
	begun := time.Now()
	select {
	case g.requests <- append([]byte{1<<3 | 2, byte(len(request))}, request...):
	case <-time.After(20 * time.Second):
		t.Fatal("the agent does not ask for requests")
	}
	select {
	case a := <-g.answers:
		if a.operation != uint64(g.last) || a.kind != uint64(kind) {
			t.Errorf("asked for %d of %d, answered %+v", g.last, kind, a)
		}
		return a, time.Since(begun)
	case <-time.After(70 * time.Second):
		t.Fatal("the agent does not answer")
		return googleAnswer{}, 0
	}
}

// TestGoogleAgent has Debian's own google-guest-agent run the scripts.
func TestGoogleAgent(t *testing.T) {
	labtest.Matrix(t, func(t *testing.T, build lab.Build) {
		s := open(t, build, onImage)
		before := s.look()
		g := s.googleHost()
		g.cycle()
		g.refused()
		s.usable()
		s.same(before)
	})
}

const disks = "0/1,0/2"

func (g *googleHost) cycle() {
	s, t := g.shop, g.shop.t
	writer := must(s.server.Write(t.Context(), lab.WriterOptions{Workers: 4}))(t)
	time.Sleep(time.Second)
	s.rescue()
	pre, preTook := g.ask(googlePre, disks)
	disk := s.clone()
	post, postTook := g.ask(googlePost, disks)
	time.Sleep(300 * time.Millisecond)
	seen := writer.Stop()
	if pre.script != 0 || pre.agent != 0 || post.script != 0 || post.agent != 0 {
		t.Fatalf("pre %+v, post %+v", pre, post)
	}
	p := s.onlyPoint()
	if p.Window.FreezeMS == 0 || p.Snapshot.Refs[0].Detail["disks"] != disks {
		t.Errorf("%+v", p)
	}
	s.stands(p, disk, seen, true)
	t.Logf("the agent's pre %.1f ms, its post %.1f ms; stall %.1f ms", ms(preTook), ms(postTook), p.Window.StallMS)
}

// refused: the agent tells a pre that failed, and the host takes no snapshot.
func (g *googleHost) refused() {
	s, t := g.shop, g.shop.t
	check(t, s.server.Stop(t.Context()))
	if pre, _ := g.ask(googlePre, disks); pre.script != 1 || pre.agent != googleScriptFailed {
		t.Errorf("%+v", pre)
	}
	check(t, s.server.Start(t.Context()))
	s.onlyPoint()
}
