package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const s3Region = "us-east-1"

// prepareS3 has versitygw keep objects as files. It checks signatures, and keeps to versions and locks in buckets that have
// them: see MakeBucket.
func prepareS3(e *Endpoint, dir string) (*process, error) {
	program, err := fetched(versitygw)
	if err != nil {
		return nil, err
	}
	e.User, e.Secret, e.Region = "holdstill", "a-secret-of-the-tests", s3Region
	// what is said of an object lies in files, too: not every file system that a test may lie on has user attributes
	sidecar, versions := filepath.Join(dir, "sidecar"), filepath.Join(dir, "versions")
	for _, d := range []string{sidecar, versions} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return &process{
		env:  []string{"ROOT_ACCESS_KEY=" + e.User, "ROOT_SECRET_KEY=" + e.Secret},
		args: []string{program, "--port", e.Addr, "--region", e.Region, "posix", "--versioning-dir", versions, "--sidecar", sidecar, e.Data},
	}, nil
}

// MakeBucket makes another bucket in an S3 store. One with locks has versions, and objects that a client may hold against deletion.
func (e *Endpoint) MakeBucket(ctx context.Context, name string, locks bool) error {
	client, err := minio.New(e.Addr, &minio.Options{Creds: credentials.NewStaticV4(e.User, e.Secret, ""), Region: e.Region})
	if err != nil {
		return err
	}
	if err := client.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: e.Region, ObjectLocking: locks}); err != nil {
		return fmt.Errorf("cannot make the bucket %s: %w", name, err)
	}
	return nil
}
