package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing says that a store's program is not on this machine.
var ErrMissing = errors.New("it is not on this machine")

// The programs, below Dir. The versions are those of scripts/fetch-stores.sh.
const (
	versitygw = "versitygw-1.8.0/versitygw"
	fakeGCS   = "fake-gcs-server-1.56.1/fake-gcs-server"
	azurite   = "azurite-3.37.0/node_modules/azurite/dist/src/blob/main.js"
)

// Dir is the directory of the stores that were fetched beside the system.
func Dir() string {
	if dir := os.Getenv("HOLDSTILL_STORES"); dir != "" {
		return dir
	}
	return "/var/cache/holdstill/stores"
}

// fetched is the path of a program below Dir.
func fetched(program string) (string, error) {
	file := filepath.Join(Dir(), program)
	tree, _, _ := strings.Cut(program, "/")
	tree = filepath.Join(Dir(), tree)
	if _, err := os.Stat(filepath.Join(tree, ".complete")); err != nil {
		return "", fmt.Errorf("%s: %w: run scripts/fetch-stores.sh (%w)", filepath.Base(tree), ErrMissing, err)
	}
	return file, nil
}

// installed finds a program of the system's; sbin need not be in the PATH.
func installed(program string) (string, error) {
	if file, err := exec.LookPath(program); err == nil {
		return file, nil
	}
	file, err := exec.LookPath(filepath.Join("/usr/sbin", program))
	if err != nil {
		return "", fmt.Errorf("%s: %w: run scripts/prereqs.sh test (%w)", program, ErrMissing, err)
	}
	return file, nil
}
