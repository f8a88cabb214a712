package main

import "fmt"

func (r *report) data(d *dataset) {
	fmt.Printf("  %.0f MB in files; from the first snapshot to the next %.1f MB lie in another place (extent maps), %.1f MB differ (compared in blocks of 4 KiB)\n\n",
		float64(d.sizes[0])/1e6, float64(d.rewritten)/1e6, float64(d.differing)/1e6)
	r.add("repository/data", float64(d.sizes[0])/1e6, "MB")
	r.add("repository/rewritten", float64(d.rewritten)/1e6, "MB")
	r.add("repository/differing", float64(d.differing)/1e6, "MB")
}

// print tells each run as soon as it is over.
func (l lap) print(title string) {
	fmt.Printf("  %-22s %-20s %7.1f s\n", title, l.name, l.seconds)
}

// archivers prints a table for each lap, ours first, and draws the promises from them.
func (r *report) archivers(d *dataset, laps map[string][]lap) {
	peak := 0.0
	for _, title := range []string{firstShip, nextShip, placing} {
		table := middle(laps[title])
		r.table(title, d, table, len(laps[title])/len(table))
		for _, l := range laps[title] {
			if l.name == table[0].name {
				peak = max(peak, l.peak)
			}
		}
	}
	read := 1e6 * middle(laps[nextShip])[0].claimed
	r.add("repository/holdstill/read of rewritten", read/float64(d.rewritten), "x")
	r.add("repository/holdstill/peak memory", peak, "MB")
	fmt.Printf("\n  holdstill read %.1f MB for the next ship: %.2f of what lies in another place, %.2f of what differs\n",
		read/1e6, read/float64(d.rewritten), read/float64(d.differing))
	r.promise = append(r.promise, shipGoals(laps)...)
	r.promise = append(r.promise,
		goal{"next ship: bytes read over bytes rewritten", read / float64(d.rewritten), 1.5, "x"},
		goal{"shipping and restoring: peak memory", peak, 512, "MB"})
}

// shipGoals are in times of a peer: ours divided by its.
func shipGoals(laps map[string][]lap) []goal {
	over := func(title, peer string, limit float64) goal {
		table := middle(laps[title])
		g := goal{text: title + ": time over that of " + peer, limit: limit, unit: "x"}
		for _, l := range table {
			if l.name == peer {
				g.value = table[0].seconds / l.seconds
			}
		}
		return g
	}
	return []goal{
		over(firstShip, resticName, 0.5), over(firstShip, kopiaName, 1), over(firstShip, tarName, 1.25),
		over(nextShip, resticName, 0.1), over(nextShip, kopiaName, 0.1), over(placing, resticName, 1),
	}
}

func (r *report) table(title string, d *dataset, table []lap, runs int) {
	size := float64(d.sizes[0]) / 1e6
	if title == nextShip {
		size = float64(d.sizes[1]) / 1e6
	}
	fmt.Printf("\n  %-26s %9s %8s %8s %8s %9s %10s %11s   median of %d\n", title, "time", "MB/s", "ours/its", "CPU", "memory", "from disk", "stored", runs)
	for i, l := range table {
		ratio := ""
		if i > 0 {
			ratio = fmt.Sprintf("%.2f x", table[0].seconds/l.seconds)
		}
		fmt.Printf("  %-26s %7.2f s %8.0f %8s %6.1f s %6.0f MB %7.0f MB %8.1f MB\n", l.name, l.seconds, size/l.seconds, ratio, l.cpu, l.peak, l.read, l.stored)
		if l.whole > 0 {
			fmt.Printf("  %-26s %7.2f s\n", "  and the copy booted once", l.whole)
		}
		r.archiver(title, l, table[0], i > 0)
	}
}

func (r *report) archiver(title string, l, ours lap, peer bool) {
	name := "repository/" + title + "/"
	if peer {
		r.versus(name+"holdstill", ours.seconds, "s", l.name, l.seconds)
	}
	r.add(name+l.name+"/time", l.seconds, "s")
	r.add(name+l.name+"/cpu", l.cpu, "s")
	r.add(name+l.name+"/memory", l.peak, "MB")
	r.add(name+l.name+"/stored", l.stored, "MB")
}
