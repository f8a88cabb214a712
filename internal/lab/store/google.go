package store

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// prepareGoogle has fake-gcs-server keep objects as files. It asks for no credentials: what a client does with them is not tested
// here. It takes a retention, and does not keep to it.
func prepareGoogle(e *Endpoint, _ string) (*process, error) {
	program, err := fetched(fakeGCS)
	if err != nil {
		return nil, err
	}
	return &process{args: []string{program, "-scheme", "http", "-host", e.Host, "-port", fmt.Sprint(e.Port),
		"-backend", "filesystem", "-filesystem-root", e.Data, "-public-host", e.Addr}}, nil
}

func makeGoogleBucket(ctx context.Context, e *Endpoint) error {
	body := strings.NewReader(`{"name":"` + e.Bucket + `"}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL+"/storage/v1/b?project=test", body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("cannot make the bucket %s: %s: %s", e.Bucket, answer.Status, said)
	}
	return nil
}
