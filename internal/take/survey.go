package take

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/plan"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Survey asks of the storage what a plan depends on: where the server's paths lie, and who can cut them. It changes nothing.
// The providers are asked in the order given.
func Survey(ctx context.Context, facts *database.Facts, providers []snapshot.Provider) ([]plan.Offer, error) {
	var offers []plan.Offer
	for _, p := range facts.Paths {
		place, err := mount.Locate(p.Path)
		if errors.Is(err, fs.ErrNotExist) && p.Purpose != database.DataDir {
			continue // it may come into being later (persisted variables): there is nothing to cut now
		}
		if err != nil {
			return nil, fmt.Errorf("cannot find the %s of the server: %w", p.Purpose, err)
		}
		offers = append(offers, offer(ctx, p.Purpose, place, providers))
	}
	return offers, nil
}

func offer(ctx context.Context, purpose database.Purpose, place mount.Place, providers []snapshot.Provider) plan.Offer {
	o := plan.Offer{Purpose: purpose, Place: place}
	for _, provider := range providers {
		unit, err := provider.Covers(ctx, place)
		if err == nil {
			o.Unit = &unit
			return o
		}
		o.WhyNot = append(o.WhyNot, provider.Name()+": "+err.Error())
	}
	return o
}
