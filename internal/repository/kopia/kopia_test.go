package kopia_test

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdstill/holdstill/internal/lab/store"
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
	return kopia.Settings{Location: p.location, Password: password, Host: host, Dir: filepath.Join(p.states, host, fmt.Sprint(p.n))}
}

func (p *place) make(t testing.TB) repository.Store {
	t.Helper()
	s, err := kopia.Init(t.Context(), p.settings("a"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *place) open(t testing.TB, host string) repository.Store {
	t.Helper()
	s, err := kopia.Open(t.Context(), p.settings(host))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// scratch is a directory in memory: what is tested here is not the disk, which is slow to sync where other tests are at work.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdstill-kopia-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func directory(t testing.TB) *place {
	t.Helper()
	dir := scratch(t)
	return &place{location: kopia.Location{URL: filepath.Join(dir, "store")}, states: filepath.Join(dir, "states")}
}

// at is a place in a store, below a path of its own.
func at(t testing.TB, e *store.Endpoint, name string) *place {
	t.Helper()
	dir := scratch(t)
	return &place{location: located(t, e, name), states: filepath.Join(dir, "states")}
}

// located says where a store is as a configuration does.
func located(t testing.TB, e *store.Endpoint, name string) kopia.Location {
	t.Helper()
	switch e.Kind {
	case store.KindS3:
		return kopia.Location{URL: "s3://" + e.Bucket + "/" + name, Endpoint: e.Addr, Region: e.Region, Plain: true,
			CredentialsFile: keys(t, "aws_access_key_id = "+e.User, "aws_secret_access_key = "+e.Secret)}
	case store.KindAzure:
		return kopia.Location{URL: "azure://" + e.Bucket + "/" + name, Endpoint: e.Domain, Plain: true,
			CredentialsFile: keys(t, "account = "+e.User, "key = "+e.Secret)}
	case store.KindSFTP:
		return kopia.Location{URL: fmt.Sprintf("sftp://%s@%s%s", e.User, e.Addr, path.Join(e.Path, name)),
			CredentialsFile: e.KeyFile, KnownHostsFile: e.KnownHosts}
	}
	t.Fatalf("no test is made for %s", e.Kind)
	return kopia.Location{}
}

func keys(t testing.TB, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("[default]\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConformance(t *testing.T) {
	var p *place
	again := func(t testing.TB, host string) repository.Store { return p.open(t, host) }
	t.Run("directory", func(t *testing.T) {
		repositorytest.Run(t, func(t testing.TB) repository.Store {
			p = directory(t)
			return p.make(t)
		}, again)
	})
	// Google's is tried with the program itself (e2e: TestRepositoryStores): its client wants the environment.
	for _, kind := range []store.Kind{store.KindS3, store.KindSFTP, store.KindAzure} {
		t.Run(string(kind), func(t *testing.T) {
			e, n := store.For(t, kind, scratch(t)), 0
			repositorytest.Run(t, func(t testing.TB) repository.Store {
				n++
				p = at(t, e, fmt.Sprintf("deep/%d", n))
				return p.make(t)
			}, again, map[store.Kind][]string{store.KindSFTP: repositorytest.Remote, store.KindAzure: repositorytest.Remote}[kind]...)
		})
	}
}
