package dumpfile

import (
	"os"
	"testing"
)

func write(path string, content []byte) error { return os.WriteFile(path, content, 0o600) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
