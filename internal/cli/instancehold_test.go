package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/lock"
)

// TestASwapAndABackupKeepEachOtherAway holds an instance as a backup does, and then as a swap does.
func TestASwapAndABackupKeepEachOtherAway(t *testing.T) {
	dir := t.TempDir()
	a := &app{dirs: config.Dirs{Run: dir, State: t.TempDir()}}
	backup, err := lock.Take(dir, "shop")
	if err != nil {
		t.Fatal(err)
	}
	hurried := &instanceHold{app: a, instance: "shop"}
	if err := hurried.take(t.Context()); !isBusy(err) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("a swap beside a backup: %v", err)
	}
	taken := make(chan error)
	patient := &instanceHold{app: a, instance: "shop", patience: time.Minute}
	go func() { taken <- patient.take(t.Context()) }()
	_ = backup.Close()
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Take(dir, "shop"); !isBusy(err) {
		t.Errorf("a backup beside a swap: %v", err)
	}
	patient.release()
	patient.release()
	if again, err := lock.Take(dir, "shop"); err != nil {
		t.Error(err)
	} else {
		_ = again.Close()
	}
}
