package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/azure"
	"github.com/kopia/kopia/repo/blob/filesystem"
	"github.com/kopia/kopia/repo/blob/gcs"
	"github.com/kopia/kopia/repo/blob/s3"
	"github.com/kopia/kopia/repo/blob/sftp"

	"github.com/holdstill/holdstill/internal/lab/store"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect is what the repository of a user does, with kopia's own clients.
func connect(t *testing.T, e *store.Endpoint, patience time.Duration) (blob.Storage, error) {
	t.Helper()
	// where a store is away, kopia asks again for a quarter of an hour
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	switch e.Kind {
	case store.KindS3:
		return s3.New(ctx, &s3.Options{Endpoint: e.Addr, BucketName: e.Bucket, AccessKeyID: e.User, SecretAccessKey: e.Secret, Region: e.Region, DoNotUseTLS: true}, false)
	case store.KindAzure:
		return azure.New(ctx, &azure.Options{StorageAccount: e.User, StorageKey: e.Secret, StorageDomain: e.Domain, Container: e.Bucket, DoNotUseTLS: true}, false)
	case store.KindGoogle:
		for _, env := range e.Env {
			name, value, _ := strings.Cut(env, "=")
			t.Setenv(name, value)
		}
		return gcs.New(ctx, &gcs.Options{BucketName: e.Bucket}, false)
	case store.KindSFTP:
		return sftp.New(ctx, &sftp.Options{Host: e.Host, Port: e.Port, Username: e.User, Keyfile: e.KeyFile, KnownHostsFile: e.KnownHosts, Path: e.Path}, false)
	}
	t.Fatal(e.Kind)
	return nil, nil
}

func connected(t *testing.T, e *store.Endpoint) blob.Storage {
	t.Helper()
	s := must(connect(t, e, 30*time.Second))(t)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// directory is the repository that needs no store.
func directory(t *testing.T, dir string) blob.Storage {
	t.Helper()
	return must(filesystem.New(t.Context(), &filesystem.Options{Path: dir}, false))(t)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// slice and buffer are what kopia's clients take and fill; kopia's own are internal to it.
type slice []byte

func (s slice) WriteTo(w io.Writer) (int64, error) { return bytes.NewReader(s).WriteTo(w) }
func (s slice) Length() int                        { return len(s) }
func (s slice) Reader() io.ReadSeekCloser          { return reader{bytes.NewReader(s)} }

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

type buffer struct{ bytes.Buffer }

func (b *buffer) Length() int { return b.Len() }
