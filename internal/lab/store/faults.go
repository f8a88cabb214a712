package store

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net"
	"net/http"
	"time"
)

// Faults are what a proxy does to its clients. The zero value passes everything on.
type Faults struct {
	// Status is the answer to requests, which the store then never sees; Code and Message are what its body says, in the way of the
	// store. Not for SFTP.
	Status        int
	Code, Message string
	// LoseAnswers breaks the connection when the store has stored an object, before the client hears of it. Not for SFTP.
	LoseAnswers bool
	// CutUp and CutDown break a connection as soon as so many bytes more have passed in that direction, headers included, over all
	// connections together; then the count begins anew. The store gets a broken connection, too; a client gets all that came before.
	CutUp, CutDown int64

	// First limits how often the above strikes; 0: without end. Every lets only each k-th request be answered by Status, and Match only
	// such requests.
	First, Every int
	Match        func(*http.Request) bool

	Latency time.Duration // from a request to its answer
	Rate    int64         // bytes per second in each direction, of all connections together
	Hang    bool          // nothing passes, in any direction, until other faults are set; connections are still taken
}

// Answers of stores that are busy, or have no room.
var (
	Busy     = Faults{Status: http.StatusServiceUnavailable, Code: "SlowDown", Message: "Please reduce your request rate."}
	Broken   = Faults{Status: http.StatusInternalServerError, Code: "InternalError", Message: "We encountered an internal error."}
	NoSpace  = Faults{Status: http.StatusInsufficientStorage, Code: "InsufficientStorage", Message: "No space left on device.", Match: IsUpload}
	TooLarge = Faults{Status: http.StatusBadRequest, Code: "EntityTooLarge", Message: "Your proposed upload exceeds the maximum allowed size.", Match: IsUpload}
	Denied   = Faults{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied."}
)

// IsUpload matches requests that bring data.
func IsUpload(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodPost }

// Stats are what went through a proxy since it was made, or since Reset.
type Stats struct {
	Connections int
	Requests    map[string]int // by method, also those that never reached the store
	Statuses    map[int]int    // the store's own answers
	Puts        map[string]int // how often each object was stored, whether or not the client came to know
	Struck      int            // answers in place of the store's, lost answers, cuts by count
	Up, Down    int64          // bytes, headers included; what was read of a client, not what the store took
}

func newStats() Stats {
	return Stats{Requests: map[string]int{}, Statuses: map[int]int{}, Puts: map[string]int{}}
}

// Twice are the objects that were stored more than once.
func (s Stats) Twice() []string {
	var names []string
	for name, n := range s.Puts {
		if n > 1 {
			names = append(names, fmt.Sprintf("%s (%d times)", name, n))
		}
	}
	return names
}

// Set lets other faults hold, from now on, also for what is under way; Faults{} heals.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.struck, p.asked = f, 0, 0
	p.up, p.down = flow{}, flow{}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Stats gives the counters.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Requests, s.Statuses, s.Puts = maps.Clone(s.Requests), maps.Clone(s.Statuses), maps.Clone(s.Puts)
	return s
}

// Reset gives the counters and begins them anew.
func (p *Proxy) Reset() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	p.stats = newStats()
	return s
}

// Cut breaks all connections that are open now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	open := make([]net.Conn, 0, len(p.open))
	for c := range p.open {
		open = append(open, c)
	}
	p.mu.Unlock()
	for _, c := range open {
		c.(*conn).cut()
	}
}

func (p *Proxy) now() (Faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

// strike counts a fault that is about to strike; false: it has struck often enough. The caller holds the lock.
func (p *Proxy) strike() bool {
	if p.faults.First > 0 && p.struck >= p.faults.First {
		return false
	}
	p.struck++
	p.stats.Struck++
	return true
}

// asks counts a request, and says whether it is answered here, and how.
func (p *Proxy) asks(r *http.Request) (Faults, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Requests[r.Method]++
	f := p.faults
	if f.Status == 0 || f.Match != nil && !f.Match(r) {
		return f, false
	}
	p.asked++
	if f.Every > 1 && p.asked%f.Every != 0 {
		return f, false
	}
	return f, p.strike()
}

// pass counts bytes: how many of them go on, after what time, and whether the connection is cut then.
func (p *Proxy) pass(d direction, n int) (int, time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	flow, total, limit := &p.up, &p.stats.Up, p.faults.CutUp
	if d == downward {
		flow, total, limit = &p.down, &p.stats.Down, p.faults.CutDown
	}
	cut := limit > 0 && flow.since+int64(n) >= limit && p.strike()
	if cut {
		n = int(max(0, min(limit-flow.since, int64(n))))
		flow.since = 0
	} else {
		flow.since += int64(n)
	}
	*total += int64(n)
	return n, flow.delay(n, p.faults.Rate), cut
}

// delay is how long n bytes have to wait for those before them; less than nothing, where their time has come meanwhile.
func (f *flow) delay(n int, rate int64) time.Duration {
	if rate == 0 {
		return 0
	}
	if now := time.Now(); f.free.Before(now) {
		f.free = now
	}
	f.free = f.free.Add(time.Duration(int64(n) * int64(time.Second) / rate))
	return time.Until(f.free)
}

// answer is the fault's, as that kind of store would say it.
func (f Faults) answer(w http.ResponseWriter, kind Kind) {
	code := f.Code
	if code == "" {
		code = "InternalError"
	}
	var body []byte
	switch kind {
	case KindGoogle:
		w.Header().Set("Content-Type", "application/json")
		body, _ = json.Marshal(map[string]any{"error": map[string]any{"code": f.Status, "message": f.Message, "errors": []any{map[string]string{"reason": code, "message": f.Message}}}})
	default:
		w.Header().Set("Content-Type", "application/xml")
		w.Header().Set("X-Ms-Error-Code", code)
		body, _ = xml.Marshal(struct {
			XMLName       xml.Name `xml:"Error"`
			Code, Message string
		}{Code: code, Message: f.Message})
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write(body)
}
