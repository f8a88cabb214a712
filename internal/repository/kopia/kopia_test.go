package kopia_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/holdstill/holdstill/internal/repository"
	"github.com/holdstill/holdstill/internal/repository/kopia"
	"github.com/holdstill/holdstill/internal/repository/repositorytest"
)

const password = "correct horse battery staple"

// place is a store that hosts with state directories of their own open.
type place struct {
	location kopia.Location
	states   string
	mu       sync.Mutex
	n        int
}

func (p *place) settings(host string) kopia.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return kopia.Settings{Location: p.location, Password: password, Host: host, Dir: filepath.Join(p.states, host, string(rune('0'+p.n)))}
}

func TestConformance(t *testing.T) {
	var p *place
	repositorytest.Run(t, func(t testing.TB) repository.Store {
		dir := t.TempDir()
		p = &place{location: kopia.Location{URL: filepath.Join(dir, "store")}, states: filepath.Join(dir, "states")}
		s, err := kopia.Init(t.Context(), p.settings("a"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, func(t testing.TB, host string) repository.Store {
		s, err := kopia.Open(t.Context(), p.settings(host))
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
