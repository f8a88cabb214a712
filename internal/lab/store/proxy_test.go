package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kopia/kopia/repo/blob"

	"github.com/holdstill/holdstill/internal/lab/store"
)

// client is one of S3 that never tries again by itself, so that each fault is seen.
type client struct {
	*minio.Client
	bucket string
}

func once(t *testing.T, e *store.Endpoint) client {
	t.Helper()
	c := must(minio.New(e.Addr, &minio.Options{Creds: credentials.NewStaticV4(e.User, e.Secret, ""), Region: e.Region, MaxRetries: 1}))(t)
	return client{c, e.Bucket}
}

func (c client) put(name string, content []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := c.PutObject(ctx, c.bucket, name, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{DisableMultipart: true})
	return err
}

func (c client) get(name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	o, err := c.GetObject(ctx, c.bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(o)
}

func (c client) has(t *testing.T, name string, want []byte) {
	t.Helper()
	if got, err := c.get(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(want), err)
	}
}

func (c client) hasNot(t *testing.T, name string) {
	t.Helper()
	if _, err := c.get(name); minio.ToErrorResponse(err).Code != "NoSuchKey" {
		t.Errorf("%s: %v, want NoSuchKey", name, err)
	}
}

func answered(t *testing.T, err error, status int, code string) {
	t.Helper()
	if r := minio.ToErrorResponse(err); r.StatusCode != status || r.Code != code {
		t.Errorf("answered %d %s (%v), want %d %s", r.StatusCode, r.Code, err, status, code)
	}
}

// TestPassesOn: with no faults all stores work through a proxy, under the proxy's name, and it knows what went through.
func TestPassesOn(t *testing.T) {
	for _, kind := range store.Kinds {
		t.Run(string(kind), func(t *testing.T) {
			e := store.For(t, kind, t.TempDir())
			p := store.Through(t, e)
			s := connected(t, p.Endpoint())
			content := random(8 << 20)
			p.Reset()
			check(t, put(t, s, "p0123456789", content))
			check(t, put(t, s, "q", content[:10]))
			holds(t, s, "p0123456789", content)
			stats := p.Stats()
			if stats.Up < 8<<20 || stats.Down < 8<<20 || stats.Up > 9<<20 || stats.Down > 9<<20 {
				t.Errorf("%d bytes went up, %d down", stats.Up, stats.Down)
			}
			if kind == store.KindSFTP {
				return
			}
			if len(stats.Puts) != 2 || stats.Puts["p0123456789"] != 1 || stats.Puts["q"] != 1 || len(stats.Twice()) > 0 {
				t.Errorf("stored: %v; %v", stats.Puts, stats.Requests)
			}
			check(t, put(t, s, "q", content[:11]))
			if twice := p.Stats().Twice(); len(twice) != 1 {
				t.Errorf("stored twice: %v", twice)
			}
			check(t, s.DeleteBlob(t.Context(), "q"))
			if n := p.Stats().Requests["DELETE"]; n != 1 {
				t.Errorf("%d deletions", n)
			}
			p.Set(store.Busy)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := s.GetMetadata(ctx, "p0123456789"); err == nil || errors.Is(err, blob.ErrBlobNotFound) {
				t.Errorf("of a busy store: %v", err)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	p := store.Through(t, store.S3(t, t.TempDir()))
	c := once(t, p.Endpoint())
	content := random(1 << 20)
	f := store.Busy
	f.First = 2
	p.Set(f)
	for range 2 {
		answered(t, c.put("a", content), 503, "SlowDown")
	}
	check(t, c.put("a", content))
	f.First, f.Every = 0, 3
	p.Set(f)
	for i := range 6 {
		if err := c.put("a", content); (err != nil) != (i%3 == 2) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	for _, f := range []store.Faults{store.NoSpace, store.TooLarge} {
		p.Set(f)
		answered(t, c.put("new", content), f.Status, f.Code)
		c.has(t, "a", content) // what is there can still be read
	}
	p.Set(store.Denied)
	_, err := c.get("a")
	answered(t, err, 403, "AccessDenied")
	p.Set(store.Faults{})
	c.hasNot(t, "new")
	if s := p.Stats(); s.Puts["a"] != 5 || s.Puts["new"] != 0 || s.Struck != 7 {
		t.Errorf("%+v", s)
	}
}

func TestCuts(t *testing.T) {
	p := store.Through(t, store.S3(t, t.TempDir()))
	c := once(t, p.Endpoint())
	content := random(8 << 20)
	check(t, c.put("old", content))
	p.Set(store.Faults{CutUp: 3 << 20, First: 1})
	p.Reset()
	if err := c.put("new", content); err == nil {
		t.Error("an upload went through that was cut")
	}
	if s := p.Stats(); s.Up != 3<<20 || s.Struck != 1 || len(s.Puts) > 0 {
		t.Errorf("cut: %+v", s)
	}
	c.hasNot(t, "new")
	check(t, c.put("new", content)) // First: 1
	p.Set(store.Faults{CutDown: 3 << 20, First: 1})
	if got, err := c.get("old"); err == nil || len(got) < 2<<20 || len(got) > 3<<20 {
		t.Errorf("got %d bytes of a download that was cut: %v", len(got), err)
	}
	c.has(t, "old", content)
	p.Set(store.Faults{LoseAnswers: true, First: 1})
	if err := c.put("lost", content); err == nil {
		t.Error("an answer came that was lost")
	}
	c.has(t, "lost", content)
	if s := p.Stats(); s.Puts["lost"] != 1 {
		t.Errorf("stored: %v", s.Puts)
	}
}

func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func TestSlow(t *testing.T) {
	p := store.Through(t, store.S3(t, t.TempDir()))
	c := once(t, p.Endpoint())
	content := random(1 << 20)
	check(t, c.put("a", content))
	p.Set(store.Faults{Latency: 700 * time.Millisecond})
	if d := took(func() { check(t, c.put("b", content[:10])) }); d < 700*time.Millisecond || d > 20*time.Second {
		t.Errorf("took %v at a latency of 700ms", d)
	}
	p.Set(store.Faults{Rate: 1 << 20})
	for what, f := range map[string]func(){"up": func() { check(t, c.put("c", content)) }, "down": func() { c.has(t, "a", content) }} {
		if d := took(f); d < 900*time.Millisecond || d > 20*time.Second {
			t.Errorf("1 MiB %s took %v at 1 MiB/s", what, d)
		}
	}
	p.Set(store.Faults{Hang: true})
	ended := make(chan error, 1)
	go func() { ended <- c.put("d", content) }()
	select {
	case err := <-ended:
		t.Errorf("it did not hang: %v", err)
	case <-time.After(time.Second):
	}
	p.Set(store.Faults{})
	check(t, <-ended)
	c.has(t, "d", content)
}

// TestStoreBehindAProxyGoes: the client sees a broken connection, and the store again when it is back.
func TestStoreBehindAProxyGoes(t *testing.T) {
	e := store.S3(t, t.TempDir())
	p := store.Through(t, e)
	c := once(t, p.Endpoint())
	check(t, c.put("a", []byte("x")))
	check(t, e.Kill())
	if err := c.put("a", []byte("y")); err == nil || minio.ToErrorResponse(err).StatusCode != 0 {
		t.Errorf("of a store that is away: %v", err)
	}
	check(t, e.Start())
	c.has(t, "a", []byte("x"))
}

// TestSFTPFaults: what happens to connections happens to those that are not HTTP.
func TestSFTPFaults(t *testing.T) {
	e := store.SFTP(t, t.TempDir())
	p := store.Through(t, e)
	s := connected(t, p.Endpoint())
	content := random(8 << 20)
	p.Set(store.Faults{CutUp: 3 << 20, First: 1})
	check(t, put(t, s, "p0123456789", content)) // kopia tries again
	if p.Stats().Struck != 1 || p.Stats().Up < 11<<20 {
		t.Errorf("%+v", p.Stats())
	}
	p.Cut()
	holds(t, s, "p0123456789", content)
	p.Set(store.Faults{Latency: 300 * time.Millisecond, Rate: 8 << 20})
	if d := took(func() { holds(t, s, "p0123456789", content) }); d < 1200*time.Millisecond {
		t.Errorf("8 MiB took %v at 8 MiB/s", d)
	}
	check(t, e.Stop()) // its sessions end, too
	p.Set(store.Faults{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.GetMetadata(ctx, "p0123456789"); err == nil {
		t.Error("a store that is away answered")
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	p := store.Through(t, store.S3(t, t.TempDir()))
	c := once(t, p.Endpoint())
	content := random(256 << 10)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				_ = c.put(string(rune('a'+i)), content)
				_, _ = c.get(string(rune('a' + i)))
			}
		})
	}
	for _, f := range []store.Faults{store.Busy, {CutUp: 1 << 20}, {CutDown: 1 << 20}, {Hang: true}, {Rate: 4 << 20}, {LoseAnswers: true, First: 2}, {}} {
		p.Set(f)
		time.Sleep(100 * time.Millisecond)
		_ = p.Stats()
		p.Cut()
	}
	all.Wait()
	c = once(t, p.Endpoint()) // the other's idle connections were cut, which it may learn only as it uses them
	check(t, c.put("a", content))
	c.has(t, "a", content)
}
