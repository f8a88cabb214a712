// Package wire is the one readable list of what exists: every make of every seam, and who takes back which deed.
package wire

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/family"
	"github.com/holdstill/holdstill/internal/database/mariadb"
	"github.com/holdstill/holdstill/internal/database/mysql"
	"github.com/holdstill/holdstill/internal/database/scripts"
	"github.com/holdstill/holdstill/internal/freeze"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/replica"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/snapshot/btrfs"
	"github.com/holdstill/holdstill/internal/snapshot/external"
	"github.com/holdstill/holdstill/internal/snapshot/image"
	"github.com/holdstill/holdstill/internal/swap"
	"github.com/holdstill/holdstill/internal/take"
	"github.com/holdstill/holdstill/internal/undo"
)

// Providers lists the snapshot providers in the order in which they are asked.
func Providers() []snapshot.Provider {
	return []snapshot.Provider{btrfs.New(), image.New()}
}

// ProviderNamed finds one of them, or the one that opens what a host has cut.
func ProviderNamed(name string) (snapshot.Provider, error) {
	for _, p := range append(Providers(), external.Reader()) {
		if p.Name() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("this holdstill has no snapshot provider %q", name)
}

// Registry lists who takes back which deed in a later process.
func Registry() undo.Registry {
	r := undo.Registry{
		take.ServiceKind: take.UndoService(Ping),
		freeze.Kind:      freeze.Undoer,
		btrfs.Kind:       btrfs.Undoer,
		image.Kind:       image.Undoer,
		external.Kind:    external.Undoer,
		scripts.Kind:     scripts.Undoer,
	}
	maps.Copy(r, family.Undoers(mariadb.Dialect(), mysql.Dialect()))
	maps.Copy(r, restore.Undoers())
	maps.Copy(r, replica.Undoers())
	maps.Copy(r, swap.Undoers(Pool))
	return r
}

// Connect opens a server of whichever product answers.
func Connect(ctx context.Context, e database.Endpoint) (database.Server, error) {
	product, _, err := family.Detect(ctx, e)
	if err != nil {
		return nil, err
	}
	e.Product = product
	if product == database.MariaDB {
		return mariadb.Open(ctx, e)
	}
	return mysql.Open(ctx, e)
}

// Ping reports whether a server answers there.
func Ping(ctx context.Context, e database.Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := Connect(ctx, e)
	if err != nil {
		return err
	}
	return errors.Join(s.Ping(ctx), s.Close())
}

// Service tells how an instance's service is stopped and started: as configured, else found from the server's process.
func Service(i *config.Instance, facts *database.Facts) (service.Service, error) {
	timeout := time.Duration(i.Service.Timeout)
	switch s := i.Service; {
	case s.Systemd != "":
		return service.Service{Kind: service.Systemd, Name: s.Systemd, Timeout: timeout}, nil
	case s.SysV != "":
		return service.Service{Kind: service.SysV, Name: s.SysV, Timeout: timeout}, nil
	case s.Start != "":
		return service.Service{Kind: service.Commands, Start: s.Start, Stop: s.Stop, Timeout: timeout}, nil
	}
	return service.Find(service.Hints{Cgroup: facts.Process.Cgroup, Arguments: facts.Process.Arguments}, timeout)
}

// Place tells where a directory lies that may not exist yet.
func Place(dir string) mount.Place {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || at == "/" {
			p, _ := mount.Locate(at)
			return p
		}
	}
}

// OpenAt opens cuts of whichever provider made them; those of a host lie where disks says, by mount points.
func OpenAt(disks map[string]string) func(context.Context, snapshot.Ref) (snapshot.Tree, error) {
	return func(ctx context.Context, ref snapshot.Ref) (_ snapshot.Tree, err error) {
		if ref.Provider == external.Name {
			if ref, err = external.At(ref, disks); err != nil {
				return nil, err
			}
		}
		return Open(ctx, ref)
	}
}

// Open opens a cut of whichever provider made it.
func Open(ctx context.Context, ref snapshot.Ref) (snapshot.Tree, error) {
	p, err := ProviderNamed(ref.Provider)
	if err != nil {
		return nil, err
	}
	return p.Open(ctx, ref)
}

// Pool opens a pool of connections to a server that Holdstill itself made.
func Pool(ctx context.Context, e database.Endpoint) (*sql.DB, error) { return family.Pool(ctx, e) }

// ServerProcess names the process of the server that answers at the endpoint; none if none does.
func ServerProcess(ctx context.Context, e database.Endpoint) service.Process {
	s, err := Connect(ctx, e)
	if err != nil {
		return service.Process{}
	}
	defer s.Close()
	facts, err := s.Facts(ctx)
	if err != nil {
		return service.Process{}
	}
	return service.ProcessOf(facts.Process.PID)
}
