package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/snapshot"
)

func (p *Plan) chooseUnits(in Input) {
	var homeless, keyrings []Offer
	for _, o := range in.Offers {
		if o.Purpose == database.Keyring {
			keyrings = append(keyrings, o)
			continue
		}
		if o.Unit == nil {
			homeless = append(homeless, o)
			continue
		}
		p.Paths = append(p.Paths, catalog.Located{Purpose: o.Purpose, Place: o.Place, Unit: o.Unit.Key})
		if p.unit(o.Unit.Key) == nil {
			p.Units = append(p.Units, *o.Unit)
			p.because("snapshot", o.Unit.Provider, "%s holds the %s", o.Unit.Why, o.Purpose)
		}
	}
	for len(homeless) > 0 {
		first := homeless[0]
		var purposes []string
		rest := slices.DeleteFunc(homeless, func(o Offer) bool {
			same := o.Place.MountPoint == first.Place.MountPoint
			if same && !slices.Contains(purposes, string(o.Purpose)) {
				purposes = append(purposes, string(o.Purpose))
			}
			return same
		})
		p.problem("move it to a btrfs subvolume, or to an ext4 or XFS file system on a loop device whose image lies on XFS (reflink=1) or btrfs",
			"no provider can cut %s (%s on %s), where these lie: %s; %s", first.Place.Path, first.Place.FSType, first.Place.Device,
			strings.Join(purposes, ", "), strings.Join(first.WhyNot, "; "))
		homeless = rest
	}
	p.noteKeyrings(keyrings)
}

// noteKeyrings notes where the keyring is. It is in the point where its volume is cut anyhow; no file system is cut, let alone frozen, for its
// sake: its parts lie beside the server's program and plugins, and in /etc. Its keys are needed for a restore, so it is said where they are not.
func (p *Plan) noteKeyrings(offers []Offer) {
	var outside []string
	for _, o := range offers {
		l := catalog.Located{Purpose: o.Purpose, Place: o.Place}
		if o.Unit != nil && p.unit(o.Unit.Key) != nil {
			l.Unit = o.Unit.Key
		} else {
			outside = append(outside, o.Place.Path)
		}
		p.Paths = append(p.Paths, l)
	}
	if len(outside) > 0 {
		p.warn("not part of the point: the keyring's files %s. Nobody reads the encrypted tables without the keys: keep copies of them elsewhere", strings.Join(outside, ", "))
	}
}

func (p *Plan) unit(key string) *snapshot.Unit {
	for i := range p.Units {
		if p.Units[i].Key == key {
			return &p.Units[i]
		}
	}
	return nil
}

// checkAtomic demands one cut for what InnoDB's recovery needs from one moment. A stopped server needs no such thing, and the
// binary log may lie elsewhere because commits stall over all the cuts.
func (p *Plan) checkAtomic() {
	var first *catalog.Located
	for i, l := range p.Paths {
		if !l.Purpose.Atomic() {
			continue
		}
		if first == nil {
			first = &p.Paths[i]
			continue
		}
		if l.Unit == first.Unit || p.Mode == database.Cold || p.together(l.Unit, first.Unit) {
			continue
		}
		p.problem("put them on one volume, or use --mode cold",
			"not application-consistent, because the %s (%s) and the %s (%s) lie on different volumes, and InnoDB writes while its commits are held: no cut takes both at one moment",
			first.Purpose, first.Place.Real, l.Purpose, l.Place.Real)
	}
	if len(p.Units) > 1 {
		p.because("volumes", fmt.Sprintf("%d cuts", len(p.Units)), "the server's files lie on %d volumes; commits are held over all the cuts", len(p.Units))
	}
}

// together reports whether two units are cut at one moment: a host takes its disks one after the other, and only what is frozen
// stands still over that.
func (p *Plan) together(a, b string) bool {
	one, other := p.unit(a), p.unit(b)
	return one.Group != "" && one.Group == other.Group && one.FrozenBy != "" && other.FrozenBy != ""
}

// Frozen reports whether every file system of the point stands still over the cut, whoever froze it.
func (p *Plan) Frozen() bool {
	return !slices.ContainsFunc(p.Units, func(u snapshot.Unit) bool { return u.Freeze == "" && u.FrozenBy == "" })
}

func (p *Plan) checkFreeze(in Input) {
	for _, u := range p.Units {
		if u.Group != "" && u.FrozenBy == "" {
			p.because("freeze", "not "+u.Sync, "who calls after the snapshot would hang on it; commits are held, and the snapshot's journal is played at its first mount")
		}
		if u.FrozenBy != "" {
			p.because("freeze", u.Sync, "%s freezes it around the snapshot", u.FrozenBy)
			p.checkRunDir(in, u.Sync)
		}
		if u.Freeze == "" || slices.Contains(p.Freeze, u.Freeze) {
			continue
		}
		p.Freeze = append(p.Freeze, u.Freeze)
		p.because("freeze", u.Freeze, "the storage below it knows nothing of the file system; a guard process thaws it whatever happens to us")
		p.checkRunDir(in, u.Freeze)
	}
	if len(p.Units) > 0 && len(p.Freeze) == 0 && p.Units[0].Group == "" {
		p.because("freeze", "nothing", "a btrfs snapshot is atomic by itself, and one of a frozen btrfs would block")
	}
}

func (p *Plan) checkRunDir(in Input, frozen string) {
	if in.RunDir.MountPoint == frozen {
		p.problem("set HOLDSTILL_RUN to a directory elsewhere, a tmpfs is best",
			"the run directory %s lies on %s, which would be frozen: nobody could write there", in.RunDir.Path, frozen)
	}
}
