// Package durable makes what was done to a directory survive a power cut.
package durable

import (
	"errors"
	"os"
)

// SyncDir writes out a directory: names that were made, changed or removed in it are durable only then.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
