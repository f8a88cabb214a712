package main

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
)

// place is a kind of world: a server of a product, in a role, on a storage that a provider cuts.
type place struct{ product, role, storage string }

func (p place) String() string { return p.product + "/" + p.role + "/" + p.storage }

// injection is one fault: in which world, in a backup of which mode, at which boundary, and what happens there. A boundary that is
// passed many times has the number of the passage behind its name: ledger.append:3.
type injection struct {
	place
	mode, boundary, actor string
}

func (i injection) base() string {
	name, _, _ := strings.Cut(i.boundary, ":")
	return name
}

func (i injection) passage() int {
	_, number, _ := strings.Cut(i.boundary, ":")
	n, _ := strconv.Atoi(number)
	return max(1, n)
}

func (i injection) String() string {
	return strings.Join([]string{i.place.String(), i.mode, i.boundary, i.actor}, "/")
}

// parse reads what String writes; false for anything shorter.
func parse(text string) (injection, bool) {
	part := strings.Split(text, "/")
	if len(part) != 6 {
		return injection{}, false
	}
	return injection{place{part[0], part[1], part[2]}, part[3], part[4], part[5]}, true
}

var (
	products = []string{"mariadb-10.11", "mysql-9.7"}
	roles    = map[string][]string{ // with the modes that fit them
		"source":  {"hot", "cold"},
		"replica": {"hot", "locked", "cold"},
		"chain":   {"hot", "locked", "cold"},
	}
	storages = []string{"btrfs", "image"}
)

// places lists every world, the products side by side so that both are under way at any time.
func places() []place {
	var out []place
	for _, role := range []string{"source", "replica", "chain"} {
		for _, storage := range storages {
			for _, product := range products {
				out = append(out, place{product, role, storage})
			}
		}
	}
	return out
}

// dice is the randomness of one thing, by its name: the same for the same seed, whatever else goes on.
func dice(name string, seed uint64) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// draw chooses n of all that fits a world. It spreads them: each choice is one whose actor, boundary and mode were chosen least so
// far, what takes long counting more often. Then it begins anew.
func draw(p place, passed map[string][]string, n int, r *rand.Rand) []injection {
	all := everything(p, passed)
	if len(all) == 0 {
		return nil
	}
	var out []injection
	for len(out) < n {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		out = append(out, spread(all, min(n-len(out), len(all)), r)...)
	}
	return out
}

func everything(p place, passed map[string][]string) []injection {
	var all []injection
	for _, mode := range roles[p.role] {
		for _, boundary := range passed[mode] {
			for _, a := range actors {
				i := injection{p, mode, boundary, a.name}
				if a.fits(i) {
					all = append(all, i)
				}
			}
		}
	}
	return all
}

func spread(all []injection, n int, r *rand.Rand) []injection {
	rest := append([]injection{}, all...)
	used := map[string]int{}
	for _, a := range actors {
		used[a.name] = r.IntN(a.cost()) // in a short campaign what is slow comes in some worlds only
	}
	var out []injection
	for range n {
		best, least := 0, -1
		for k, i := range rest {
			if weight := used[i.actor] + used[i.base()] + used[i.mode]/4; least < 0 || weight < least {
				best, least = k, weight
			}
		}
		i := rest[best]
		rest[best] = rest[len(rest)-1]
		rest = rest[:len(rest)-1]
		used[i.actor] += actorNamed(i.actor).cost()
		used[i.base()]++
		used[i.mode] += modeCost(i)
		out = append(out, i)
	}
	return out
}

// modeCost: a cold backup stops and starts a server, which takes MySQL many seconds.
func modeCost(i injection) int {
	switch {
	case i.mode != "cold":
		return 1
	case strings.HasPrefix(i.product, "mysql"):
		return 12
	}
	return 3
}
