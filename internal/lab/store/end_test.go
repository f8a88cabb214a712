package store_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/minio/minio-go/v7"

	"github.com/holdstill/holdstill/internal/lab/store"
)

const makerVariable = "HOLDSTILL_STORE_MAKER"

// TestMaker is the process that TestKilled starts and kills.
func TestMaker(t *testing.T) {
	dir := os.Getenv(makerVariable)
	if dir == "" {
		t.Skip("nothing is left untested: this is the process that TestKilled starts and kills, and it runs only as that")
	}
	var addresses []string
	for _, kind := range store.Kinds {
		addresses = append(addresses, store.For(t, kind, filepath.Join(dir, string(kind))).Addr)
	}
	store.Full(t, dir, 16<<20)
	check(t, os.WriteFile(filepath.Join(dir, "new"), []byte(strings.Join(addresses, " ")), 0o600))
	check(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "made")))
	select {}
}

// TestKilled: nothing is left of the stores whose test is killed.
func TestKilled(t *testing.T) {
	for _, kind := range store.Kinds {
		store.For(t, kind, t.TempDir()) // skips, where the maker would
	}
	dir := must(os.MkdirTemp("/var/tmp", "holdstill-test-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	maker := exec.Command(os.Args[0], "-test.run=^TestMaker$")
	maker.Env = append(os.Environ(), makerVariable+"="+dir)
	maker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(t, maker.Start())
	var made []byte
	eventually(t, "the stores", 2*time.Minute, func() (err error) {
		made, err = os.ReadFile(filepath.Join(dir, "made"))
		return err
	})
	check(t, maker.Process.Kill())
	_ = maker.Wait()
	for _, address := range strings.Fields(string(made)) {
		eventually(t, address+" to be gone", 10*time.Second, func() error {
			if c, err := net.Dial("tcp", address); err == nil {
				_ = c.Close()
				return errors.New("somebody answers")
			}
			return nil
		})
	}
	eventually(t, "the small file system to be gone", 20*time.Second, func() error {
		if _, err := os.Stat(filepath.Join(dir, "full")); err == nil {
			return errors.New("it is there")
		}
		return nil
	})
}

func eventually(t *testing.T, what string, limit time.Duration, is func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = is(); err == nil {
			return
		}
	}
	t.Fatalf("waited %v for %s: %v", limit, what, err)
}

// TestFull: a directory that is full refuses what is new, and keeps what it has.
func TestFull(t *testing.T) {
	d := store.Full(t, t.TempDir(), 32<<20)
	s := directory(t, d.Dir)
	content := random(8 << 20)
	check(t, put(t, s, "old", content))
	check(t, d.Fill(2<<20))
	if err := put(t, s, "new", content); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("8 MiB into 2: %v", err)
	}
	holds(t, s, "old", content)
	check(t, d.Fill(1<<40))
	check(t, put(t, s, "new", content))
}

// TestLocks: a bucket with locks keeps what a client holds, and a wrong key opens nothing.
func TestLocks(t *testing.T) {
	e := store.S3(t, t.TempDir())
	check(t, e.MakeBucket(t.Context(), "locked", true))
	e.Bucket = "locked"
	s := connected(t, e)
	hold := blob.PutOptions{RetentionMode: blob.Governance, RetentionPeriod: time.Hour}
	check(t, s.PutBlob(t.Context(), "held", slice("x"), hold))
	c := once(t, e)
	for version := range c.ListObjects(t.Context(), e.Bucket, minio.ListObjectsOptions{WithVersions: true}) {
		check(t, version.Err)
		err := c.RemoveObject(t.Context(), e.Bucket, version.Key, minio.RemoveObjectOptions{VersionID: version.VersionID})
		if version.VersionID == "" || minio.ToErrorResponse(err).Code != "AccessDenied" {
			t.Errorf("a held version (%q) could be removed: %v", version.VersionID, err)
		}
	}
	e.Secret = "another"
	if _, err := connect(t, e, 2*time.Second); err == nil {
		t.Error("a wrong secret was good enough")
	}
}
