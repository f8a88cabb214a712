package kopia

import (
	"context"
	"regexp"

	"github.com/kopia/kopia/repo/blob"
)

// signature is how Azure's tokens stand in the address that a request goes to, which its client repeats in its errors.
var signature = regexp.MustCompile(`(?i)\b(sig|signature)=[^&\s"']+`)

func hide(text string) string { return signature.ReplaceAllString(text, "$1=HIDDEN") }

// quiet is an error that says less.
type quiet struct {
	error
	text string
}

func (q quiet) Error() string { return q.text }
func (q quiet) Unwrap() error { return q.error }

func discreetly(err error) error {
	if err == nil {
		return nil
	}
	if text := hide(err.Error()); text != err.Error() {
		return quiet{err, text}
	}
	return err
}

// discreet is a storage whose errors have no secrets in them.
type discreet struct{ blob.Storage }

func (d *discreet) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	return discreetly(d.Storage.GetBlob(ctx, id, offset, length, output))
}

func (d *discreet) GetMetadata(ctx context.Context, id blob.ID) (blob.Metadata, error) {
	m, err := d.Storage.GetMetadata(ctx, id)
	return m, discreetly(err)
}

func (d *discreet) ListBlobs(ctx context.Context, prefix blob.ID, each func(blob.Metadata) error) error {
	return discreetly(d.Storage.ListBlobs(ctx, prefix, each))
}

func (d *discreet) PutBlob(ctx context.Context, id blob.ID, data blob.Bytes, o blob.PutOptions) error {
	return discreetly(d.Storage.PutBlob(ctx, id, data, o))
}

func (d *discreet) DeleteBlob(ctx context.Context, id blob.ID) error {
	return discreetly(d.Storage.DeleteBlob(ctx, id))
}

func (d *discreet) ExtendBlobRetention(ctx context.Context, id blob.ID, o blob.ExtendOptions) error {
	return discreetly(d.Storage.ExtendBlobRetention(ctx, id, o))
}
