package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdstill/holdstill/internal/durable"
	"github.com/holdstill/holdstill/internal/snapshot"
)

const (
	shelfName = ".holdstill"
	suffix    = ".img"
	maxPlain  = 80
)

func shelfOf(detail map[string]string) string {
	return filepath.Join(filepath.Dir(detail[detailBacking]), shelfName)
}

// tag is the image's part of a clone's name, as the package comment says.
func tag(backing string) string {
	base := filepath.Base(backing)
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			return r
		}
		return '_'
	}, strings.TrimSuffix(base, suffix))
	plain = plain[:min(len(plain), maxPlain)]
	if plain+suffix != base {
		plain += fmt.Sprintf(".%x", sha256.Sum256([]byte(base)))[:9]
	}
	return plain
}

func cloneName(run, backing string) string { return run + "-" + tag(backing) + suffix }

func newRef(unit snapshot.Unit, run string) snapshot.Ref {
	name := cloneName(run, unit.Detail[detailBacking])
	detail := maps.Clone(unit.Detail)
	detail[detailPath] = filepath.Join(shelfOf(detail), name)
	if unit.Freeze == "" && unit.FrozenBy == "" {
		detail[detailThawed] = "yes"
	}
	return snapshot.Ref{Provider: Name, Name: name, Run: run, Unit: unit.Key, Detail: detail}
}

// Find lists the clones of the unit's image, finished or not.
func (*Provider) Find(_ context.Context, unit snapshot.Unit, run string) ([]snapshot.Ref, error) {
	entries, err := os.ReadDir(shelfOf(unit.Detail))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the clones of the image %s: %w", unit.Detail[detailBacking], err)
	}
	end := "-" + tag(unit.Detail[detailBacking]) + suffix
	var out []snapshot.Ref
	for _, e := range entries {
		of, ok := strings.CutSuffix(e.Name(), end)
		if ok && of != "" && (run == "" || run == of) {
			out = append(out, newRef(unit, of))
		}
	}
	return out, nil
}

// Destroy removes a clone, durably.
func (*Provider) Destroy(_ context.Context, ref snapshot.Ref) error {
	if err := destroy(ref.Detail[detailPath], ref.Name, ref.Detail[detailBacking]); err != nil {
		return fmt.Errorf("cannot remove the clone %s: %w", ref.Name, err)
	}
	return nil
}

func destroy(path, name, backing string) error {
	if filepath.Base(path) != name || filepath.Base(filepath.Dir(path)) != shelfName {
		return fmt.Errorf("%s is no clone of ours", path)
	}
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, os.ErrNotExist) {
			// Gone is only gone if we see where it was: an outer file system that is not mounted hides it, and the image beside it.
			_, err := os.Stat(backing)
			return err
		}
	} else if err != nil {
		return err
	}
	// This too if it was gone: perhaps by a process that was killed before it synced.
	return durable.SyncDir(filepath.Dir(path))
}
