package btrfs

import (
	"context"
	"fmt"
	"strconv"

	"github.com/holdstill/holdstill/internal/snapshot"
	"github.com/holdstill/holdstill/internal/undo"
)

// Branch makes a writable snapshot of the snapshot, beside it, under the name of the run that wants it.
func (t *tree) Branch(run string) undo.Step[snapshot.Tree] {
	ref := t.ref
	id, err := strconv.ParseUint(ref.Detail[detailID], 10, 64)
	ref.Run, ref.Name = run, snapshotName(run, id)
	deed := undo.NewDeed(Kind, "branch", "make a writable snapshot of "+t.ref.Name, deleteCommand(ref), []snapshot.Ref{ref})
	return undo.Step[snapshot.Tree]{Deed: deed, Act: func(ctx context.Context) (snapshot.Tree, error) {
		if err != nil {
			return nil, fmt.Errorf("cannot name a writable snapshot of %s: %w", t.ref.Name, err)
		}
		b, err := t.branch(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("cannot make a writable snapshot of %s: %w", t.ref.Name, err)
		}
		return b, nil
	}}
}

func (t *tree) branch(ctx context.Context, ref snapshot.Ref) (*tree, error) {
	top, err := openTop(ctx, ref.Detail)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	shelf, err := openShelf(top, false)
	if err != nil {
		return nil, err
	}
	defer shelf.Close()
	request, err := prepareSnapshot(t.fd(), ref.Name, 0)
	if err != nil {
		return nil, err
	}
	if err := ioctl(int(shelf.Fd()), iocSnapCreateV2, request); err != nil {
		return nil, err
	}
	return onShelf(ctx, top, ref, t.views)
}
