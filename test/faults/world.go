package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// The policy of every instance here, short so that a campaign is.
const (
	maxStall = time.Second
	patience = 4 * time.Second
)

// world is one server in Holdstill's care, with the servers around it, writers at the top of the chain, and witnesses.
type world struct {
	place
	ctx     context.Context
	lab     *lab.Lab
	tmp     string // a tmpfs of our own: the programs' outputs, traces and gates
	program string // the program under test: a copy of this world's own, so that its processes can be told

	origin  *lab.Server // the top of the chain: the writers' server
	subject *lab.Server // the one that is backed up
	leaf    *lab.Server // a replica of the subject; nil where there is none
	volume  *lab.Volume // that holds the subject's data
	outer   *lab.Volume // that holds the volume's image; nil on btrfs
	disk    *lab.Volume // that holds the state directory

	config, state, runDir string
	secret                string // the keeper's password as the configuration has it

	writer *lab.Writer
	probe  *probe
	truth  *truth
	normal view // what there is when nothing is broken
	every  int  // how manieth point is restored
	points int  // seen so far
}

// newWorld makes everything and starts the writers.
func newWorld(ctx context.Context, p place, dir, binary string) (_ *world, err error) {
	l, err := lab.New(dir)
	if err != nil {
		return nil, err
	}
	l.Seeds = filepath.Join(lab.Servers(), ".seeds")
	w := &world{place: p, ctx: ctx, lab: l, secret: "as-configured-1"}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cannot make the world %s: %w", p, err), w.close())
		}
	}()
	for _, step := range []func() error{func() error { return w.makeDirs(binary) }, w.makeVolumes, w.makeServers, w.makeChain, w.makeAccounts, w.configure} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if w.writer, err = w.origin.Write(ctx, lab.WriterOptions{Workers: 2, Pause: 10 * time.Millisecond}); err != nil {
		return nil, err
	}
	w.truth = &truth{server: w.origin}
	if w.probe, err = watchVolume(w.volume.Dir); err == nil {
		w.normal, err = w.look()
	}
	return w, err
}

func (w *world) close() error {
	if w.writer != nil {
		w.writer.Stop()
	}
	if w.probe != nil {
		w.probe.stop()
	}
	return errors.Join(w.lab.Close(), os.RemoveAll(w.tmp))
}

func (w *world) makeDirs(binary string) (err error) {
	if w.tmp, err = os.MkdirTemp("/run", "holdstill-faults-"); err != nil {
		return err
	}
	w.runDir = filepath.Join(w.tmp, "run")
	w.program = filepath.Join(w.lab.Dir(), "holdstill")
	return w.install(binary)
}

// install puts a program in place of the world's.
func (w *world) install(binary string) error {
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(w.program), os.WriteFile(w.program, content, 0o755))
}

func (w *world) makeVolumes() (err error) {
	if w.disk, err = w.lab.FS(w.ctx, "disk", "ext4", 64<<20); err != nil {
		return err
	}
	w.state = filepath.Join(w.disk.Dir, "state")
	if w.storage == "btrfs" {
		w.volume, err = w.lab.Btrfs(w.ctx, "volume", 2<<30)
		return err
	}
	if w.outer, err = w.lab.FS(w.ctx, "host", "xfs", 4<<30); err != nil {
		return err
	}
	w.volume, err = w.lab.ImageOn(w.ctx, w.outer, "volume", "ext4", 2<<30)
	return err
}

func (w *world) makeServers() (err error) {
	b, err := lab.Find(w.product)
	if err != nil {
		return err
	}
	server := func(spec lab.Spec) (*lab.Server, error) {
		// as few connections as can be filled quickly
		spec.Options = append(spec.Options, "max-connections=40")
		s, err := w.lab.Server(w.ctx, b, spec)
		if err != nil {
			return nil, err
		}
		return s, s.Start(w.ctx)
	}
	subject := lab.Spec{Name: "subject", Datadir: filepath.Join(w.volume.Dir, "data"), Subvolume: w.storage == "btrfs"}
	if w.role != "source" {
		subject.Options = []string{"read-only=1"}
		if w.origin, err = server(lab.Spec{Name: "origin"}); err != nil {
			return err
		}
	}
	if w.subject, err = server(subject); err != nil {
		return err
	}
	if w.role == "source" {
		w.origin = w.subject
	}
	if w.role != "replica" {
		w.leaf, err = server(lab.Spec{Name: "leaf", Options: []string{"read-only=1"}})
	}
	return err
}

func (w *world) makeChain() error {
	if w.origin != w.subject {
		if err := lab.Replicate(w.ctx, w.origin, w.subject, lab.ReplicateOptions{GTID: true}); err != nil {
			return err
		}
	}
	if w.leaf != nil {
		return lab.Replicate(w.ctx, w.subject, w.leaf, lab.ReplicateOptions{GTID: true})
	}
	return nil
}

// makeAccounts makes the keeper, as whom Holdstill works: its sessions can be told from the writers' and from ours, who are root.
func (w *world) makeAccounts() error {
	err := w.origin.Exec(w.ctx,
		"CREATE USER 'keeper'@'localhost' IDENTIFIED BY '"+w.secret+"'",
		"GRANT ALL PRIVILEGES ON *.* TO 'keeper'@'localhost' WITH GRANT OPTION",
		"CREATE DATABASE big",
		"CREATE TABLE big.rows (id BIGINT AUTO_INCREMENT PRIMARY KEY, filling CHAR(100) NOT NULL DEFAULT 'x')",
		"INSERT INTO big.rows () VALUES (), (), (), (), (), (), (), ()")
	for range 12 { // 32768 rows
		err = errors.Join(err, w.origin.Exec(w.ctx, "INSERT INTO big.rows (filling) SELECT filling FROM big.rows"))
	}
	if err != nil {
		return err
	}
	return within(20*time.Second, func() error {
		n, err := w.subject.Value(w.ctx, "SELECT COUNT(*) FROM big.rows")
		if err == nil && n != "32768" {
			err = fmt.Errorf("the subject has %s of 32768 rows", n)
		}
		return err
	})
}

// within tries until it succeeds or the time is over, and gives the last error.
func within(limit time.Duration, try func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (w *world) configure() error {
	w.config = filepath.Join(w.lab.Dir(), "holdstill.yaml")
	client := filepath.Join(w.lab.Dir(), "client.cnf")
	lines := []string{
		"instances:",
		"  subject:",
		"    option_file: " + w.subject.OptionFile,
		"    client_option_file: " + client,
		"    max_stall: " + maxStall.String(),
		"    patience: " + patience.String(),
		"    service:",
		fmt.Sprintf("      start: %q", w.subject.StartCommand()),
		fmt.Sprintf("      stop: %q", w.subject.StopCommand()),
		"      timeout: 90s",
	}
	return errors.Join(
		os.WriteFile(client, []byte("[client]\nuser=keeper\npassword="+w.secret+"\n"), 0o600),
		os.WriteFile(w.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// passed learns, from a backup that nobody disturbs, the boundaries that each mode passes here.
func (w *world) passed() (map[string][]string, error) {
	out := map[string][]string{}
	for _, mode := range roles[w.role] {
		r, err := w.start("", "--json", "backup", "--mode", mode)
		if err != nil {
			return nil, err
		}
		if r.wait(2*time.Minute) != 0 {
			return nil, fmt.Errorf("an undisturbed %s backup ended with %d:\n%s", mode, r.code, r.said())
		}
		out[mode] = r.boundaries()
	}
	return out, w.forgetPoints()
}

// tool runs one of the system's programs.
func tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
