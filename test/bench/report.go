package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// figure is one line of the JSON.
type figure struct {
	Name  string   `json:"name"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit"`
	Peer  *string  `json:"peer"`
	Ratio *float64 `json:"ratio"` // ours / the peer's
}

// goal is one promise.
type goal struct {
	text         string
	value, limit float64
	unit         string
}

// report prints while it goes, and keeps everything for the JSON.
type report struct {
	figures []figure
	promise []goal
	results map[string][]result
}

func (r *report) machine(ctx context.Context) {
	kernel, _ := exec.CommandContext(ctx, "uname", "-r").Output()
	server, _ := exec.CommandContext(ctx, "mariadbd", "--no-defaults", "--version").Output()
	fmt.Printf("machine: %d cores, %s, Linux %s\n", runtime.NumCPU(), cpu(), strings.TrimSpace(string(kernel)))
	fmt.Printf("server:  %s\n", strings.TrimSpace(string(server)))
	fmt.Printf("load:    %d writers committing single rows, and a prober; every commit synced (sync_binlog=1, innodb_flush_log_at_trx_commit=1)\n", writers)
}

func cpu() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (r *report) add(name string, value float64, unit string) {
	r.figures = append(r.figures, figure{Name: name, Value: round(value), Unit: unit})
}

func (r *report) versus(name string, value float64, unit, peer string, peers float64) {
	f := figure{Name: name, Value: round(value), Unit: unit, Peer: &peer}
	if peers > 0 { // mariadb-dump may need no lock at all
		ratio := value / peers
		f.Ratio = &ratio
	}
	r.figures = append(r.figures, f)
}

func (r *report) heading(title string) {
	fmt.Printf("\n%s\n", map[string]string{
		btrfs: "data in a btrfs subvolume",
		image: "data on xfs on a disk image on xfs (reflink)",
	}[title])
}

func (r *report) base(title string, b base) {
	fmt.Printf("  without a backup: p50 %s, p99 %s, p99.9 %s, worst %s (%d commits of the prober; %.0f commits/s in all)\n\n",
		text(ms(b.p50)), text(ms(b.p99)), text(ms(b.p999)), text(ms(b.worst)), b.commits, b.perSecond)
	fmt.Printf("  %-24s %14s %20s %14s %10s   %s\n", "", "worst commit", "times base p99.9", "window", "took", "median of")
	r.add(title+"/base/p50", ms(b.p50), "ms")
	r.add(title+"/base/p99", ms(b.p99), "ms")
	r.add(title+"/base/p99.9", ms(b.p999), "ms")
	r.add(title+"/base/commits", b.perSecond, "1/s")
}

func (r *report) contestant(title string, b base, c result) {
	times := c.worst / ms(b.p999)
	window := text(c.window)
	if c.window == 0 {
		window = "no lock"
	}
	fmt.Printf("  %-24s %14s %20s %14s %10s   %d\n", c.name, text(c.worst), fmt.Sprintf("%.1f x", times), window, fmt.Sprintf("%.1f s", c.took/1000), c.runs)
	if r.results == nil {
		r.results = map[string][]result{}
	}
	r.results[title] = append(r.results[title], c)
	if c.name != "holdstill backup" {
		r.add(title+"/"+c.name+"/worst commit", c.worst, "ms")
		r.add(title+"/"+c.name+"/window", c.window, "ms")
		return
	}
	r.add(title+"/holdstill/worst commit over base p99.9", times, "x")
	switch title {
	case btrfs:
		r.promise = append(r.promise, goal{"btrfs: window", c.window, 30, "ms"}, goal{"btrfs: worst commit over base p99.9", times, 2, "x"})
	case image:
		r.promise = append(r.promise, goal{"image: window", c.window, 150, "ms"})
	}
}

// ratios compares ours, which ran first, to each peer.
func (r *report) ratios(title string) {
	all := r.results[title]
	for _, peer := range all[1:] {
		r.versus(title+"/holdstill/worst commit", all[0].worst, "ms", peer.name, peer.worst)
		r.versus(title+"/holdstill/window", all[0].window, "ms", peer.name, peer.window)
	}
	fmt.Printf("\n  every run of holdstill: worst commits %s ms; windows %s ms\n", list(all[0].worsts), list(all[0].windows))
}

func (r *report) goals() {
	fmt.Println("\ngoals")
	for _, g := range r.promise {
		verdict := "pass"
		if g.value > g.limit {
			verdict = "FAIL"
		}
		fmt.Printf("  %s  %-48s %8.2f %-2s  (at most %g %s)\n", verdict, g.text, g.value, g.unit, g.limit, g.unit)
	}
}

func (r *report) writeJSON(path string) error {
	if path == "" {
		return nil
	}
	out, err := json.MarshalIndent(r.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}

func round(v float64) float64 { return float64(int64(v*1000+0.5)) / 1000 }

func text(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

func list(values []float64) string {
	var words []string
	for _, v := range values {
		words = append(words, fmt.Sprintf("%.1f", v))
	}
	return strings.Join(words, " ")
}
