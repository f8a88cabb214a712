package restore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/restore/restoretest"
	"github.com/holdstill/holdstill/internal/wire"
)

// keyed is a running MySQL with a keyring, encrypted logs and an encrypted table.
type keyed struct {
	*testing.T
	k       restoretest.Kit
	l       *lab.Lab
	s       *lab.Server
	vol     *lab.Volume
	keyring string
}

func openKeyed(t *testing.T) *keyed {
	t.Helper()
	b, err := lab.Find("mysql-9.7")
	must(t, err)
	l := labtest.New(t)
	e := &keyed{T: t, k: kit(t, l), l: l, vol: volume(t, l), keyring: filepath.Join(l.Dir(), "keys", "keyring")}
	e.k.Registry = wire.Registry() // scratch servers are on snapshots
	must(t, lab.MakeKeyring(e.keyring))
	b, err = b.WithKeyring(filepath.Join(l.Dir(), "bin"), e.keyring)
	must(t, err)
	manifest := filepath.Join(l.Dir(), "bin", "mysqld.my") // servers know it by its name, which may be a symlink's
	must(t, errors.Join(os.Rename(manifest, filepath.Join(l.Dir(), "manifest")), os.Symlink("../manifest", manifest)))
	e.s = live(t, l, b, e.vol, "a")
	must(t, e.s.Exec(t.Context(), "SET PERSIST innodb_redo_log_encrypt = ON", "SET PERSIST innodb_undo_log_encrypt = ON", "ALTER TABLE "+table+" ENCRYPTION='Y'"))
	return e
}

// keys are what the original's keyring holds, with when it was written.
func (e *keyed) keys() string {
	e.Helper()
	content, err := os.ReadFile(e.keyring)
	must(e, err)
	info, err := os.Stat(e.keyring)
	must(e, err)
	return string(content) + info.ModTime().String()
}

// scratch reads the table on a scratch server, has it make keys, and wants nothing to stay behind.
func (e *keyed) scratch(p *catalog.Point) (string, error) {
	e.Helper()
	run := e.k.Run(e.T, e.s.Name)
	dir := filepath.Join(e.l.Dir(), "scratch")
	rows := ""
	_, err := restore.WithScratch(e.Context(), run, restore.Request{Point: p, Scratch: dir, Account: account()}, deps(e.k), func(ctx context.Context, s *restore.Scratch) error {
		_, err := s.DB.ExecContext(ctx, "ALTER INSTANCE ROTATE INNODB MASTER KEY")
		return errors.Join(err, s.DB.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&rows))
	})
	must(e, errors.Join(run.Unwind(e.Context()), run.End()))
	gone(e.T, dir)
	return rows, err
}

// A copy of an encrypted server reads its keys, and never writes to the original's keyring.
func TestKeyring(t *testing.T) {
	e := openKeyed(t)
	point := e.k.Point(t, e.s, nil)
	must(t, e.s.Exec(t.Context(), "ALTER INSTANCE ROTATE INNODB MASTER KEY"))
	before := e.keys()
	if rows, err := e.scratch(point); err != nil || rows != "3" {
		t.Errorf("the scratch server has %s rows: %v", rows, err)
	}

	r, err := restore.Restore(t.Context(), e.k.Run(t, e.s.Name), restore.Request{Point: point, Datadir: filepath.Join(e.vol.Dir, "new"), Start: true, Account: account()}, deps(e.k))
	must(t, err)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "new.conf/keyring") {
		t.Errorf("warnings %q", r.Warnings)
	}
	noMarks(t, filepath.Join(e.vol.Dir, "new.conf", "keyring"))
	var rows string
	db := restoretest.DB(t, r.Socket)
	must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&rows))
	_, err = db.ExecContext(t.Context(), "ALTER INSTANCE ROTATE INNODB MASTER KEY")
	must(t, err)
	if rows != "3" || e.keys() != before {
		t.Errorf("the restored server has %s rows; the original's keyring was %s and is %s", rows, before, e.keys())
	}

	must(t, os.Rename(e.keyring, e.keyring+".away"))
	_, err = e.scratch(point)
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "bring its keyring back to "+e.keyring) {
		t.Errorf("without keys: %v", err)
	}
	if _, err := os.Stat(e.keyring); err == nil {
		t.Error("the copy made a keyring in the original's place")
	}
	must(t, os.Rename(e.keyring+".away", e.keyring))
}

// A keyring in the data directory is in the cut: the copy needs no other, whatever became of the original's.
func TestKeyringInTheDataDirectory(t *testing.T) {
	e := openKeyed(t)
	must(t, e.s.Stop(t.Context()))
	inside := filepath.Join(e.s.Datadir, "keyring")
	must(t, exec.Command("mv", e.keyring, inside).Run()) // which is another file system
	e.keyring = inside
	must(t, os.WriteFile(e.s.Build.KeyringConfig(), []byte(`{"read_local_config": true}`), 0o644))
	must(t, os.WriteFile(filepath.Join(e.s.Datadir, "component_keyring_file.cnf"), []byte(`{"path": "`+inside+`", "read_only": false}`), 0o644))
	must(t, e.s.Start(t.Context()))
	point := e.k.Point(t, e.s, nil)
	before := e.keys()
	if rows, err := e.scratch(point); err != nil || rows != "3" || e.keys() != before {
		t.Errorf("the scratch server has %s rows: %v; the original's keyring was %s and is %s", rows, err, before, e.keys())
	}
	must(t, os.Rename(inside, inside+".away"))
	if rows, err := e.scratch(point); err != nil || rows != "3" {
		t.Errorf("without the original's the scratch server has %s rows: %v", rows, err)
	}
	must(t, os.Rename(inside+".away", inside))
}
