package restore

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A reboot in a restore in place may start the service on the unfinished copy: what it acknowledges must not vanish under it.
func TestAnUnfinishedCopyStaysUnderARunningServer(t *testing.T) {
	dir := t.TempDir()
	datadir := filepath.Join(dir, "data")
	args := placeArgs{Datadir: datadir, Run: "run"}
	check(t, os.Mkdir(datadir, 0o700))
	check(t, mark(datadir, args.Run))
	file := filepath.Join(datadir, "ibdata1")
	check(t, os.WriteFile(file, nil, 0o600))

	program := filepath.Join(dir, "mariadbd") // it is known by the name of its program
	sleep, err := exec.LookPath("sleep")
	check(t, err)
	content, err := os.ReadFile(sleep)
	check(t, err)
	check(t, os.WriteFile(program, content, 0o700))
	server := exec.Command(program, "60")
	server.Dir = datadir
	check(t, server.Start())

	if err := removePlaced(t.Context(), args); err == nil {
		t.Error("it was removed")
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	check(t, server.Process.Kill())
	_ = server.Wait()
	check(t, removePlaced(t.Context(), args))
	if _, err := os.Stat(datadir); err == nil {
		t.Error("without a server it is still there")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
