package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// StateName is the file beside the option file in which somebody who builds on a restore may note (Onward.Note) where the copy stands.
const StateName = "restored.json"

// socketMax is the longest path that every server takes for a socket; sockaddr_un ends at 107 and a zero.
const socketMax = 106

func socketFor(r Request) string {
	if s := filepath.Join(r.Datadir, "mysqld.sock"); len(s) <= socketMax {
		return s
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Datadir))
	return fmt.Sprintf("/tmp/holdstill-%x.sock", h.Sum64())
}

// options plans the option file: what the server ran with, less what would hurt, and our own lines at the end, which win.
func (p *Plan) options(w *World) {
	r := p.Request
	f := &p.Options
	f.Socket, f.Port = p.Socket, p.Port
	f.User = r.Account.User
	f.Lines = inherited(r.Point, oldDirs(r.Point, w.Source.Real), r.Datadir)
	if w.Root && w.Account != "" {
		f.Set("user", w.Account, "")
	}
	f.Set("datadir", r.Datadir, "")
	f.Set("socket", p.Socket, "")
	f.Set("pid_file", filepath.Join(r.Datadir, "mysqld.pid"), "")
	f.Set("log_error", p.ErrorLog, "")
	f.Set("tmpdir", filepath.Join(r.ConfigDir, "tmp"), "its own: a starting server removes the temporary tables it finds there, another server's too")
	f.Set("port", strconv.Itoa(p.Port), "")
	f.Set("bind_address", r.BindAddress, "")
	f.Set("server_id", strconv.FormatUint(uint64(r.Point.Server.ServerID), 10), "that of the original: a restored server is not yet a replica")
	f.Set(p.SkipStart(), "ON", "two servers with one identity throw each other off their source; remove this only with a server_id of its own")
	p.logNames(w)
	p.keyring(w)
	if !isMariaDB(r.Point.Server.Product) {
		f.Set("loose_mysqlx", "OFF", "it would listen where the original does")
	}
	if r.Scratch != "" {
		p.scratchOptions()
		return
	}
	p.bufferPool(w)
}

// SkipStart is the option that keeps the replication threads from starting with the server.
func (p *Plan) SkipStart() string {
	if !isMariaDB(p.Server.Product) && ParseVersion(p.Server.Version).AtLeast(8, 0, 26) {
		return "skip_replica_start"
	}
	return "skip_slave_start"
}

// logNames makes the names of the logs explicit and relative: by default they derive from the host's name or the pid file's.
func (p *Plan) logNames(w *World) {
	point, was := p.Request.Point, recorded(p.Request.Point)
	const why = "relative, and the name that the files have"
	line, set := effective(was, "log_bin")
	off := set && (strings.HasPrefix(line.Name, "skip_") || strings.HasPrefix(line.Name, "disable_"))
	base := point.BinlogBase()
	if base == "" && set && !off && line.Value != "" {
		base = strings.TrimSuffix(filepath.Base(line.Value), filepath.Ext(line.Value))
	}
	switch {
	case off && base == "":
		p.Options.Own = append(p.Options.Own, Line{Name: "skip_log_bin", Bare: true})
	case base != "":
		p.Options.Set("log_bin", base, why)
		p.indexName(was, "log_bin_index")
	case set:
		p.Options.Own = append(p.Options.Own, Line{Name: "log_bin", Bare: true})
	}
	relay, set := effective(was, "relay_log")
	if base = point.RelayBase(); base == "" && set {
		base = filepath.Base(relay.Value)
	}
	if base == "" {
		if isMariaDB(point.Server.Product) { // it has no name for them then, and a replay of binary logs needs one
			p.Options.Set("relay_log", "relay-bin", "by default it is the host's, and not known before the first one is written")
		}
		return
	}
	p.Options.Set("relay_log", base, why)
	p.indexName(was, "relay_log_index")
	if !isMariaDB(point.Server.Product) && filepath.IsAbs(relay.Value) {
		p.Options.Set("relay_log_recovery", "ON", "mysql.slave_relay_log_info still names the relay log of the original by its absolute path")
	}
}

func (p *Plan) indexName(was []Line, option string) {
	if l, ok := effective(was, option); ok && l.Value != "" {
		p.Options.Set(option, filepath.Base(l.Value), "")
	}
}

// SkippedStart reports whether the original starts without its replication threads, by its options.
func (p *Plan) SkippedStart() bool {
	l, ok := effective(recorded(p.Request.Point), "slave_start", "replica_start")
	return ok && (l.Bare || l.Value == "1" || strings.EqualFold(l.Value, "ON"))
}

// RelayPathAbsolute reports whether the original's relay_log was an absolute path.
func RelayPathAbsolute(p *catalog.Point) bool {
	l, _ := effective(recorded(p), "relay_log")
	return filepath.IsAbs(l.Value)
}

// bufferPool keeps a copy from taking the memory of the server beside it.
func (p *Plan) bufferPool(w *World) {
	l, ok := effective(p.Options.Lines, "innodb_buffer_pool_size")
	size := parseSize(l.Value)
	half := w.Memory / 2 &^ (1<<27 - 1)
	if !ok || w.Memory == 0 || size <= half || half == 0 {
		return
	}
	p.Options.Set("innodb_buffer_pool_size", strconv.FormatUint(half, 10), "the original has "+l.Value+", more than half of the memory that is available here")
	p.warn("the buffer pool is made smaller, %s instead of %s: this machine has %s available", humanize.IBytes(half), l.Value, humanize.IBytes(w.Memory))
}

func parseSize(s string) uint64 {
	s = strings.TrimSpace(strings.ToUpper(s))
	shift := 0
	for unit, bits := range map[string]int{"K": 10, "M": 20, "G": 30, "T": 40} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = rest, bits
			break
		}
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n << shift
}

// Configure writes the option file and makes the temporary directory.
func (j *Job) Configure(ctx context.Context) error {
	args := configArgs{Dir: j.Plan.Request.ConfigDir, Existed: j.Plan.world.Config.Exists, Run: j.Run.ID}
	j.deps.Stage("config", "writing the option file %s", j.Plan.OptionFilePath())
	return act(ctx, j, deedOf(kindConfig, "config", "make the configuration directory "+args.Dir, "rm -r "+args.Dir, args), func(ctx context.Context) error {
		return j.configure(args)
	})
}

func (j *Job) configure(args configArgs) error {
	src := j.Plan.world.Source
	tmp := filepath.Join(args.Dir, "tmp")
	if err := errors.Join(os.MkdirAll(args.Dir, 0o755), os.Mkdir(tmp, 0o700)); err != nil {
		return fmt.Errorf("cannot make the configuration directory: %w", err)
	}
	if err := errors.Join(mark(tmp, j.Run.ID), chown(tmp, src.UID, src.GID)); err != nil {
		return fmt.Errorf("cannot make the directory for temporary files: %w", err)
	}
	if err := j.keyring(args); err != nil {
		return err
	}
	j.Plan.Options.Head = []string{
		fmt.Sprintf("Written by holdstill at %s, %s%s.", time.Now().UTC().Format(time.RFC3339), runComment, j.Run.ID),
		fmt.Sprintf("The options that %s (%s %s) ran with when the restore point %s was taken,", j.Plan.Request.Point.Instance,
			j.Plan.Request.Point.Server.Product, j.Plan.Request.Point.Server.Version, j.Plan.Request.Point.ID),
		"flattened into one file; those that would have touched the original's files are left out or changed.",
	}
	return j.WriteOptions()
}

// WriteOptions writes the option file as it stands in the plan.
func (j *Job) WriteOptions() error { return j.Plan.Options.write(j.Plan.OptionFilePath()) }

// Endpoint is how to log in to the new server.
func (j *Job) Endpoint() database.Endpoint {
	a := j.Plan.Request.Account
	return database.Endpoint{Product: j.Plan.Request.Point.Server.Product, Socket: j.Plan.Socket, User: a.User, OptionFile: a.OptionFile}
}
