// Package snapshot is the seam to storage: what can cut several paths at one moment, and how the cut is opened again.
// The makes live in the folders below it.
package snapshot

import (
	"context"
	"os"

	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/undo"
)

// Unit is what one atomic cut takes: a btrfs subvolume, a disk image.
type Unit struct {
	Provider string `json:"provider"`
	// Key is equal for two places if and only if one cut takes both at the same moment.
	Key string `json:"key"`
	// Group is equal for units that are cut at one moment although each is a cut of its own; "" where a unit stands alone.
	Group string `json:"group,omitempty"`
	// FrozenBy says who freezes the file system around the cut, where it is not the run itself.
	FrozenBy string `json:"frozen_by,omitempty"`
	// Freeze is the mount point whose file system must be frozen around the cut; "" where the storage needs none.
	Freeze string `json:"freeze,omitempty"`
	// Sync is a directory of the file system to sync before the window, so that the cut itself has little to write.
	Sync string `json:"sync"`
	// Why says in words why this provider cuts this place: "btrfs subvolume /srv/data".
	Why string `json:"why"`
	// Detail is the provider's own: strings only, so that it can go through ledger and catalogue.
	Detail map[string]string `json:"detail,omitempty"`
}

// Ref names one cut that exists. It goes into the catalogue; Detail is the provider's own.
type Ref struct {
	Provider string            `json:"provider"`
	Name     string            `json:"name"` // holds the run id
	Run      string            `json:"run"`
	Unit     string            `json:"unit"` // the Key of the unit that was cut
	Detail   map[string]string `json:"detail,omitempty"`
}

// Provider is one kind of storage that can cut.
type Provider interface {
	Name() string
	// Covers tells the unit that a place belongs to; an error says in words why this provider cannot cut it, and what it would need.
	Covers(context.Context, mount.Place) (Unit, error)
	// Prepare opens and creates whatever the cut needs, so that Act is one system call a unit. Nothing that it leaves survives
	// a kill unlisted: what it creates on disk carries the run id and is found by Find.
	Prepare(ctx context.Context, run string, units []Unit) (Cut, error)
	// Find lists the cuts on the volume of a unit, those that were never settled too where they have a name; run "" means of all runs.
	Find(ctx context.Context, unit Unit, run string) ([]Ref, error)
	// Open makes a cut readable. The tree goes away with Close, or with the process.
	Open(context.Context, Ref) (Tree, error)
	// Destroy removes a cut; it is no error if it is gone.
	Destroy(context.Context, Ref) error
}

// Cut is a prepared cut of one or more units.
type Cut interface {
	// Step cuts. It writes nothing but the cut, starts no program, looks up no name. Its deed has UntilCommit set;
	// its undo, and the provider's Undoer in a later process, destroys whatever exists of it.
	Step() undo.Step[[]Ref]
	// Settle makes the cut durable, after the window.
	Settle(context.Context) error
	Close() error
}

// Tree is an opened cut.
type Tree interface {
	// Path is a directory with the content of the unit's file system or subvolume; it works for this process and, as long as this
	// process lives, for others through /proc/PID/fd.
	Path() string
	// Locate turns a real path as it was on the live server into the path inside the tree.
	Locate(real string) (string, error)
	Close() error
}

// Cloner is a Tree that can give an instant writable copy of a directory (a btrfs snapshot) where the target lies on the same file system.
// It returns errors.ErrUnsupported where it cannot; the caller then copies.
type Cloner interface {
	Clone(ctx context.Context, real, target string) error
}

// Brancher is a Tree that can give, in an instant and for any size, a writable copy of all of itself, which shares its storage until it is
// written to. The step opens the copy; its undo removes what has a name. Nothing that is written to the copy reaches the cut.
type Brancher interface {
	Branch(run string) undo.Step[Tree]
}

// Layered is a Tree whose file system lies in a file of another one, so that addresses of the former are offsets in the latter.
type Layered interface {
	// Image is the file that the tree is read from; it is closed with the tree.
	Image() *os.File
}

// Fetcher is a Tree whose files come from far away: it writes a file's content by itself, faster than it can be read through the tree, and
// checks it. The target reads as zeros; inside is a path in the tree. The progress gets the bytes that are there.
type Fetcher interface {
	Fetch(ctx context.Context, inside string, target *os.File, progress func(done int64)) error
}
