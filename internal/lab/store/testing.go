package store

import (
	"errors"
	"os"
	"testing"
)

// S3 starts an S3 store for a test: versitygw, which checks signatures. Endpoint.MakeBucket makes buckets with versions and locks.
func S3(t testing.TB, dir string) *Endpoint { t.Helper(); return For(t, KindS3, dir) }

// Azure starts an Azure Blob store for a test: azurite, which checks signatures.
func Azure(t testing.TB, dir string) *Endpoint { t.Helper(); return For(t, KindAzure, dir) }

// Google starts a Google Cloud Storage for a test: fake-gcs-server. The client's process needs Endpoint.Env.
func Google(t testing.TB, dir string) *Endpoint { t.Helper(); return For(t, KindGoogle, dir) }

// SFTP starts an SFTP store for a test: the system's sshd, for root, who comes with a key.
func SFTP(t testing.TB, dir string) *Endpoint { t.Helper(); return For(t, KindSFTP, dir) }

// For starts a store of any kind that ends with the test; what it said is shown if the test fails.
func For(t testing.TB, kind Kind, dir string) *Endpoint {
	t.Helper()
	e, err := Open(kind, dir)
	if errors.Is(err, ErrMissing) && os.Getenv("CI") == "" {
		t.Skipf("ATTENTION: not tested: anything with a store that speaks %s: %v", kind, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last that the %s store said:\n%s", kind, e.Log())
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// Through puts a proxy before a store, for a test.
func Through(t testing.TB, e *Endpoint) *Proxy {
	t.Helper()
	p, err := NewProxy(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Full makes a small file system for a test, at dir/full: see NewDisk.
func Full(t testing.TB, dir string, bytes int64) *Disk {
	t.Helper()
	d, err := NewDisk(dir, bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
