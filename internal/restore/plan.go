package restore

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// How a copy is made.
const (
	Clone   = "clone"   // a btrfs snapshot of the whole data directory
	Reflink = "reflink" // file by file, blocks shared
	Copy    = "copy"    // file by file, bytes copied
	Fetch   = "fetch"   // file by file, from a repository
	Branch  = "branch"  // a writable copy of the whole cut, at once: for a scratch server
	Overlay = "overlay" // a writable layer over what cannot be branched: for a scratch server
)

// Plan is what a restore will do, and why.
type Plan struct {
	Request  Request
	How      string
	Bytes    int64 // that will be written
	Reasons  []string
	Warnings []string
	Options  OptionFile
	Server   Program
	Port     int
	Socket   string
	ErrorLog string
	Bring    []File // into the data directory
	Links    []Link // replaced by what they lead to

	world *World
}

// OptionFilePath is where the option file will be.
func (p *Plan) OptionFilePath() string { return filepath.Join(p.Request.ConfigDir, optionFileName) }

// Lines tells the plan to people.
func (p *Plan) Lines() []string {
	r := p.Request
	out := []string{fmt.Sprintf("restore the point %s of %s to %s", r.Point.ID, r.Point.Instance, r.Datadir)}
	out = append(out, p.Reasons...)
	for _, w := range p.Warnings {
		out = append(out, "warning: "+w)
	}
	return out
}

// defaults fills in what was not asked for.
func (r Request) defaults() Request {
	r.Datadir = cleaned(r.Datadir)
	if r.Scratch != "" {
		r.Scratch = cleaned(r.Scratch)
		r.ConfigDir = filepath.Join(r.Scratch, "conf")
	}
	if r.ConfigDir == "" && r.Datadir != "" {
		r.ConfigDir = r.Datadir + ".conf"
		if r.InPlace { // only for the first boot
			r.ConfigDir = r.Datadir + ".holdstill-conf"
		}
	}
	r.ConfigDir = cleaned(r.ConfigDir)
	if r.BindAddress == "" {
		r.BindAddress = "127.0.0.1"
	}
	if r.Server == "" {
		r.Server = strings.TrimSuffix(r.Point.Process.Executable, " (deleted)")
	}
	if r.Timeout == 0 {
		r.Timeout = time.Hour
	}
	return r
}

func cleaned(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Clean(path)
}

// Decide is pure: from the request and the facts to a plan with reasons, or a *Refusal with all that is in the way.
func Decide(r Request, w *World) (*Plan, error) {
	r = w.within(r.defaults())
	p := &Plan{Request: r, world: w, Server: w.Server, Port: w.Port, Links: w.Source.Links}
	problems := slices.Concat(paths(r, w), programs(r, w), p.bring(w))
	p.how(w)
	problems = append(problems, p.space(w)...)
	if len(problems) > 0 {
		return nil, &Refusal{What: "restore " + r.Point.ID + " to " + r.Datadir, Problems: problems}
	}
	p.Socket = socketFor(r)
	p.ErrorLog = filepath.Join(r.Datadir, "error.log")
	p.port()
	p.options(w)
	p.explain(w)
	return p, nil
}

// port keeps the one that was asked for: a copy that is not started yet may wait for it.
func (p *Plan) port() {
	if r := p.Request; p.Port == 0 && r.Port != 0 {
		p.Port = r.Port
		p.warn("port %d is not free on %s now: the copy cannot start before it is", r.Port, r.BindAddress)
	}
}

// how chooses the fastest way that the file systems allow.
func (p *Plan) how(w *World) {
	s, t := w.Source, w.Target
	switch {
	case p.Request.Scratch != "" && s.Brancher:
		p.How = Branch
		p.because("make a writable copy of the whole cut at %s, which shares its storage", p.Request.Scratch)
	case p.Request.Scratch != "":
		p.How = Overlay
		p.because("put a writable layer over the point's files at %s: what is opened for writing is copied there first", p.Request.Scratch)
	case s.Fetcher:
		p.How, p.Bytes = Fetch, s.Bytes
		p.because("fetch %s in %d files from the repository", humanize.IBytes(uint64(s.Bytes)), s.Files)
	case s.Cloner && s.Subvolume && t.SameBtrfs && (p.Request.InPlace || !t.direct()):
		p.How = Clone
		p.because("clone the data directory in an instant, because it was the root of a btrfs subvolume and %s lies on the same file system", t.Path)
	case t.Reflink:
		p.How = Reflink
		p.because("reflink %d files, because %s lies on the same file system as the cut; their blocks are shared", s.Files, t.Path)
	default:
		p.How, p.Bytes = Copy, s.Bytes
		p.because("copy %s in %d files, because %s lies on another file system than the cut", humanize.IBytes(uint64(s.Bytes)), s.Files, t.Path)
	}
}

func (p *Plan) because(format string, args ...any) {
	p.Reasons = append(p.Reasons, fmt.Sprintf(format, args...))
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// bring decides about everything that lies outside the data directory.
func (p *Plan) bring(w *World) []Problem {
	var out []Problem
	names := map[string]string{}
	for _, o := range w.Outside {
		switch {
		case o.Purpose == database.Tablespace || o.Purpose == database.TableFile:
			if !isUndo(p.Request.Point, w.Outside, o.Real) && !leadsTo(w.Source.Links, o.Real) {
				out = append(out, outsideTable(o.Real))
			}
		case o.Purpose == database.Keyring:
			if w.Keyring.File == "" {
				p.warn("the keyring's %s is not part of the copy: the restored server reads it where it is", o.Real)
			}
		case o.Purpose == database.Persisted:
		case !o.Held:
			out = append(out, Problem{Text: fmt.Sprintf("the point does not hold the %s %s", o.Purpose, o.Real)})
		default:
			for _, f := range o.Files {
				name := filepath.Base(f.Path)
				if other := names[name]; other != "" && other != f.Path {
					out = append(out, Problem{Text: fmt.Sprintf("two files would become %s in the data directory: %s and %s", name, other, f.Path)})
				}
				if names[name] == "" {
					p.Bring = append(p.Bring, f)
				}
				names[name] = f.Path
			}
			if len(o.Files) > 0 {
				p.because("bring the %s inside, from %s: the copy must not share files with the server", o.Purpose, o.Real)
			}
		}
	}
	return append(out, p.links(w)...)
}

func (p *Plan) links(w *World) []Problem {
	var out []Problem
	for _, name := range w.Source.Remote {
		out = append(out, outsideTable(name))
	}
	for _, l := range w.Source.Links {
		if l.Inside == "" {
			out = append(out, Problem{Text: fmt.Sprintf("%s is a symlink to %s, which the point does not hold: the copy would open the live server's file", l.Name, l.Target)})
			continue
		}
		p.because("replace the symlink %s by what it leads to, %s", l.Name, l.Target)
	}
	return out
}

// isUndo tells an undo tablespace, which a server finds in innodb_undo_directory, from a tablespace that it finds by name.
func isUndo(p *catalog.Point, outside []Outside, real string) bool {
	return slices.ContainsFunc(outside, func(o Outside) bool {
		return o.Held && (o.Purpose == database.UndoLog && filepath.Dir(real) == o.Real && p.Owns(database.UndoLog, filepath.Base(real)) ||
			o.Purpose == database.SystemSpace && real == o.Real)
	})
}

func leadsTo(links []Link, real string) bool {
	return slices.ContainsFunc(links, func(l Link) bool {
		return l.Inside != "" && (l.Target == real || strings.HasPrefix(real, l.Target+"/"))
	})
}

func outsideTable(path string) Problem {
	return Problem{
		Text: fmt.Sprintf("the table or tablespace %s lies outside the data directory, and InnoDB remembers where: the copy would open the live server's file", path),
		Help: "mount the point and copy the data by hand, or move the table into the data directory (ALTER TABLE ... without DATA DIRECTORY) and take a new point",
	}
}

func (p *Plan) space(w *World) []Problem {
	need := p.Bytes
	for _, f := range p.Bring {
		need += f.Bytes
	}
	p.Bytes = need
	if p.How == Overlay { // what the server opens for writing is copied: how much that is only the questions tell
		need = min(w.Source.Bytes, 1<<30)
	}
	margin := need/20 + 64<<20
	if w.Target.Free > 0 && uint64(need+margin) > w.Target.Free && need > 0 {
		return []Problem{{
			Text: fmt.Sprintf("too little space for %s: it needs %s and has %s", p.Request.Datadir, humanize.IBytes(uint64(need+margin)), humanize.IBytes(w.Target.Free)),
			Help: "choose another file system; one that the point's snapshot lies on needs almost no space",
		}}
	}
	return nil
}

func (p *Plan) explain(w *World) {
	r := p.Request
	p.because("boot the copy once with %s %s, without network, replication and events, as the server with the id %d that it was", p.Server.Path, p.Server.Version, r.Point.Server.ServerID)
	if r.Start {
		p.because("start it on %s port %d, socket %s", r.BindAddress, p.Port, p.Socket)
	}
	have, was := ParseVersion(p.Server.Version), ParseVersion(r.Point.Server.Version)
	if have.Series() != was.Series() {
		p.warn("the server is %s, the point is of %s: the copy is upgraded when it boots", p.Server.Version, r.Point.Server.Version)
	}
	if r.Point.Consistency != catalog.Application {
		p.warn("the point is %s consistent only: %s", r.Point.Consistency, r.Point.ConsistencyReason)
	}
	if len(r.Point.PreparedXA) > 0 {
		p.warn("the point holds %d prepared XA transactions, which keep their locks until someone commits them or rolls them back", len(r.Point.PreparedXA))
	}
}
