package store

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// Proxy stands between a client and a store and passes everything on, but for the Faults that it was told. Delays, limits, cuts and
// hanging happen to connections, of any store; answers of its own it can give where the store speaks HTTP.
type Proxy struct {
	to       *Endpoint
	front    *Endpoint
	listener net.Listener
	server   *http.Server // nil for SFTP
	done     chan struct{}
	ending   sync.Once
	tunnels  sync.WaitGroup

	mu      sync.Mutex
	faults  Faults
	changed chan struct{} // closed when the faults change, for those who hang
	struck  int           // how often the faults of now have struck
	asked   int           // requests that they could have struck
	up      flow
	down    flow
	stats   Stats
	open    map[net.Conn]bool // the client's side
}

// NewProxy listens at an address of its own, until Close.
func NewProxy(to *Endpoint) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{to: to, listener: l, done: make(chan struct{}), changed: make(chan struct{}), open: map[net.Conn]bool{}}
	p.stats = newStats()
	if err := p.introduce(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if to.Kind == KindSFTP {
		p.tunnels.Add(1)
		go p.accept()
		return p, nil
	}
	p.server = &http.Server{Handler: p.handler(), ErrorLog: log.New(io.Discard, "", 0)} // it would tell of each cut
	go func() { _ = p.server.Serve(guarded{p}) }()
	return p, nil
}

// Endpoint is the store as its clients see it through the proxy. Start and Stop are for the store's own.
func (p *Proxy) Endpoint() *Endpoint { return p.front }

// introduce makes the proxy's own endpoint.
func (p *Proxy) introduce() error {
	front := *p.to
	front.process = nil
	front.at("127.0.0.1", p.listener.Addr().(*net.TCPAddr).Port)
	p.front = &front
	if front.Kind != KindSFTP {
		return nil
	}
	front.KnownHosts += "." + front.Addr
	return front.trust(strings.TrimSuffix(p.to.KnownHosts, "known_hosts") + "host_key.pub")
}

// handler passes requests on as they came: the Host header must stay what the client signed, and nothing may be added to what it
// accepts. Each goes over a connection of its own, so that a store which was away leaves no dead ones behind.
func (p *Proxy) handler() http.Handler {
	target := &url.URL{Scheme: "http", Host: p.to.Addr}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			if p.to.Kind == KindGoogle {
				r.Out.Host = p.to.Addr // it knows objects under its own name only, and nothing is signed
			}
			r.Out.URL.RawQuery = r.In.URL.RawQuery
		},
		Transport:      &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		FlushInterval:  -1,
		ModifyResponse: p.answered,
		ErrorLog:       log.New(io.Discard, "", 0),
		// no answer of ours: where the store is away, or its answer gets lost, the client's connection breaks, too
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if faults, strikes := p.asks(r); strikes {
			// a client that still sends would see a broken connection instead of the answer
			_, _ = io.Copy(io.Discard, r.Body)
			faults.answer(w, p.to.Kind)
			return
		}
		pass.ServeHTTP(w, r)
	})
}

// errLost ends a request whose answer the client shall not see.
var errLost = errors.New("the answer is lost")

// answered takes note of what the store says, which is not yet with the client.
func (p *Proxy) answered(r *http.Response) error {
	name, whole := uploaded(p.to.Kind, r.Request)
	// where the rest of an upload is to go: to us
	if to := r.Header.Get("Location"); p.to.Kind == KindGoogle && to != "" {
		r.Header.Set("Location", strings.Replace(to, p.to.Addr, p.front.Addr, 1))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Statuses[r.StatusCode]++
	stored := whole && r.StatusCode/100 == 2
	if stored {
		p.stats.Puts[name]++
	}
	if stored && p.faults.LoseAnswers && p.strike() {
		return errLost
	}
	return nil
}

// accept makes tunnels for what is no HTTP.
func (p *Proxy) accept() {
	defer p.tunnels.Done()
	for {
		c, err := guarded{p}.Accept()
		if err != nil {
			return
		}
		p.tunnels.Add(1)
		go func() {
			defer p.tunnels.Done()
			p.tunnel(c)
		}()
	}
}

func (p *Proxy) tunnel(client net.Conn) {
	defer client.Close()
	store, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.to.Addr)
	if err != nil {
		return // it is away
	}
	defer store.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pass(store, client)
	go pass(client, store)
	// one side has gone, or was cut: neither ssh nor we can do anything with half a connection
	<-ended
	_, _ = client.Close(), store.Close()
	<-ended
}

// Close ends the proxy and cuts what goes through it.
func (p *Proxy) Close() error {
	var err error
	p.ending.Do(func() {
		close(p.done)
		err = p.listener.Close()
		p.Cut()
		if p.server != nil {
			_ = p.server.Close() // all that it could complain of is that its listener is closed
		}
		p.tunnels.Wait()
	})
	return err
}
