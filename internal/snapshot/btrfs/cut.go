package btrfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// part is the prepared snapshot of one unit: everything open, the request filled in.
type part struct {
	ref     snapshot.Ref
	top     *mounted
	shelf   *os.File
	source  *mounted
	request *volArgsV2
}

type cut struct {
	provider *Provider
	run      string
	parts    []*part
	refs     []snapshot.Ref
}

// Prepare opens the subvolumes and the directory of our snapshots. It leaves nothing but that (possibly empty) directory.
func (p *Provider) Prepare(ctx context.Context, run string, units []snapshot.Unit) (snapshot.Cut, error) {
	c := &cut{provider: p, run: run}
	for _, unit := range units {
		prepared, err := preparePart(ctx, run, unit)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("cannot prepare a snapshot of the %s: %w", unit.Why, err), c.Close())
		}
		c.parts = append(c.parts, prepared)
		c.refs = append(c.refs, prepared.ref)
	}
	return c, nil
}

func preparePart(ctx context.Context, run string, unit snapshot.Unit) (*part, error) {
	id, err := strconv.ParseUint(unit.Detail[detailID], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("it has no subvolume id: %w", err)
	}
	p := &part{ref: newRef(unit, run, id)}
	if err := p.open(ctx, unit, id); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *part) open(ctx context.Context, unit snapshot.Unit, id uint64) (err error) {
	if p.top, err = openTop(ctx, unit.Detail); err != nil {
		return err
	}
	if p.shelf, err = openShelf(p.top, true); err != nil {
		return err
	}
	// By id, not by path: the live path may be renamed or covered between the plan and the cut.
	device, err := deviceOf(unit.Detail[detailUUID], unit.Detail[detailDevice])
	if err != nil {
		return err
	}
	if p.source, err = openMounted(ctx, device, "ro", fmt.Sprintf("subvolid=%d", id)); err != nil {
		return err
	}
	p.request, err = prepareSnapshot(p.source.fd(), p.ref.Name, readOnly)
	return err
}

func (p *part) close() error {
	return errors.Join(closeFile(p.shelf), p.top.Close(), p.source.Close())
}

// Step is one ioctl a unit.
func (c *cut) Step() undo.Step[[]snapshot.Ref] {
	var names, manual []string
	for _, p := range c.parts {
		names = append(names, "subvolume "+p.ref.Detail[detailSubvolume])
		manual = append(manual, deleteCommand(p.ref))
	}
	deed := undo.NewDeed(Kind, "cut", "snapshot "+strings.Join(names, " and "), strings.Join(manual, "; "), c.refs)
	deed.UntilCommit = true
	return undo.Step[[]snapshot.Ref]{Deed: deed, Act: c.act, Undo: func(ctx context.Context) error {
		return c.provider.destroyAll(ctx, c.refs)
	}}
}

// deleteCommand is what a person would type.
func deleteCommand(ref snapshot.Ref) string {
	return fmt.Sprintf("mount -o subvolid=5 %s /mnt && btrfs subvolume delete /mnt/%s/%s; umount /mnt", ref.Detail[detailDevice], shelfName, ref.Name)
}

func (c *cut) act(ctx context.Context) ([]snapshot.Ref, error) {
	for _, p := range c.parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := ioctl(int(p.shelf.Fd()), iocSnapCreateV2, p.request); err != nil {
			return nil, fmt.Errorf("cannot snapshot the subvolume %s as %s: %w", p.ref.Detail[detailSubvolume], p.ref.Name, err)
		}
	}
	return c.refs, nil
}

// Settle waits for the commit. The snapshot's ioctl commits by itself; this makes sure of it.
func (c *cut) Settle(context.Context) error {
	for _, p := range c.parts {
		if err := commit(int(p.shelf.Fd())); err != nil {
			return fmt.Errorf("cannot make the snapshot %s durable: %w", p.ref.Name, err)
		}
	}
	return nil
}

// Close closes what Prepare opened.
func (c *cut) Close() error {
	var all []error
	for _, p := range c.parts {
		all = append(all, p.close())
	}
	return errors.Join(all...)
}

// Undoer destroys the snapshots of a run that never committed.
func Undoer(ctx context.Context, d undo.Deed) error {
	var refs []snapshot.Ref
	if err := json.Unmarshal(d.Args, &refs); err != nil {
		return fmt.Errorf("cannot read the deed: %w", err)
	}
	return New().destroyAll(ctx, refs)
}

func (p *Provider) destroyAll(ctx context.Context, refs []snapshot.Ref) error {
	var all []error
	for _, ref := range refs {
		all = append(all, p.Destroy(ctx, ref))
	}
	return errors.Join(all...)
}

// Destroy deletes the snapshot and waits until the deletion survives a power cut; the space comes back a little later.
func (*Provider) Destroy(ctx context.Context, ref snapshot.Ref) error {
	if err := destroy(ctx, ref); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot delete the snapshot %s: %w", ref.Name, err)
	}
	return nil
}

func destroy(ctx context.Context, ref snapshot.Ref) error {
	if _, _, ok := parseName(ref.Name); !ok || strings.ContainsRune(ref.Name, '/') {
		return errors.New("it has no name of ours")
	}
	top, err := openTop(ctx, ref.Detail)
	if err != nil {
		return err
	}
	defer top.Close()
	shelf, err := openShelf(top, false)
	if err != nil {
		return err
	}
	defer shelf.Close()
	// One that is gone may have been deleted by a process that was killed before it waited.
	if err := deleteSubvolume(int(shelf.Fd()), ref.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return commit(int(shelf.Fd()))
}
