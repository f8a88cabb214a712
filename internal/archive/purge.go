package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// PurgeOptions say which logs of a server may go.
type PurgeOptions struct {
	Archive  *Archive
	Host     string // this machine's name
	Instance string
	Source   Source   // the server, by an account that may read its logs
	Admin    Source   // the server, by an account that may purge
	Replicas []Source // the servers of the topology that are known beforehand
	// At is how any other replica is reached, where it says that it is.
	At func(host string, port int) (Source, error)
	// Ignore are replicas that need not have read a log: HOST:PORT of one that is known beforehand, or the server id of one that the server tells.
	Ignore  []string
	DryRun  bool           // nothing goes, and nothing is noted
	KeepFor time.Duration  // logs with anything newer stay
	Shipped func(Log) bool // whether a log is whole in the repository; nil: it need not be there
	Log     *slog.Logger
}

// Verdict is about one log of the server, and why.
type Verdict struct {
	Name   string   `json:"name"`
	Size   int64    `json:"size"` // bytes on the server
	Purge  bool     `json:"purge"`
	Why    []string `json:"why"`
	Purged bool     `json:"purged"`
}

// Purging is what would be purged, oldest log first.
type Purging struct {
	Server   Server    `json:"server"`
	Address  string    `json:"address"`
	Logs     []Verdict `json:"logs"`
	Replicas []Reader  `json:"replicas"`
	To       string    `json:"to"` // the first log that stays; "": none goes
}

// PlanPurge asks the server, its replicas and the archive. It changes nothing but the list of replicas that were seen, and that not if nothing shall go.
func PlanPurge(ctx context.Context, o PurgeOptions) (*Purging, error) {
	conn, f, err := meet(ctx, &o.Source)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	p := &purger{PurgeOptions: o, ctx: ctx, facts: f, kept: map[string]Log{}, now: time.Now()}
	archived, err := o.Archive.Logs()
	if err != nil {
		return nil, err
	}
	for _, l := range archived {
		if sameServer(l.Server, f.server) {
			p.kept[l.Name] = l // of one name the last
		}
	}
	if p.readers, err = p.askReaders(); err != nil {
		return nil, err
	}
	out := &Purging{Server: f.server, Address: o.Source.Address(), Logs: []Verdict{}, Replicas: p.readers}
	return out, p.judge(out)
}

// purger decides.
type purger struct {
	PurgeOptions
	ctx     context.Context
	facts   *facts
	kept    map[string]Log // archived logs of this server, by name
	readers []Reader
	now     time.Time
}

// judge decides about each log. A server purges from its oldest log on only, so behind the first that stays all do.
func (p *purger) judge(out *Purging) error {
	stays := ""
	for i, file := range p.facts.logs {
		v := Verdict{Name: file.name, Size: file.size, Why: []string{"it is behind " + stays + ", which stays"}}
		if stays == "" {
			var err error
			if v.Why, err = p.reasons(file, i == len(p.facts.logs)-1); err != nil {
				return err
			}
		}
		switch {
		case stays == "" && len(v.Why) == 0:
			v.Purge = true
			v.Why = append(v.Why, p.fine(p.kept[file.name]))
		case stays == "":
			stays = file.name
			if i > 0 {
				out.To = stays
			}
		}
		out.Logs = append(out.Logs, v)
	}
	return nil
}

// reasons are why a log stays; none: it may go. Its bytes are read last, and only if nothing else keeps it.
func (p *purger) reasons(file logFile, last bool) (why []string, err error) {
	if last {
		return []string{"the server writes to it"}, nil
	}
	l, there := p.kept[file.name]
	if !there {
		return []string{"it is not archived"}, nil
	}
	if text := p.foreign(l, file); text != "" {
		return []string{text}, nil
	}
	if age := p.now.Sub(l.Last); age < p.KeepFor {
		why = append(why, fmt.Sprintf("its last event is %s old, and %s is wanted", age.Round(time.Second), p.KeepFor))
	}
	for _, r := range p.readers {
		if c, text := r.claims(l); c == needs {
			why = append(why, text)
		}
	}
	if p.Shipped != nil && !p.Shipped(l) {
		why = append(why, "it is not whole in the repository")
	}
	if len(why) > 0 {
		return why, nil
	}
	return p.unsound(l)
}

// foreign is why an archived log is not, or not all of, the server's of the same name.
func (p *purger) foreign(l Log, file logFile) string {
	switch {
	case !l.Closed:
		return "it is not archived to its end"
	case l.Size != file.size && l.Size+encryptedBy != file.size:
		return fmt.Sprintf("the archived one has %d bytes, and the server's %d", l.Size, file.size)
	}
	return ""
}

// encryptedBy is what MySQL writes before a log that it encrypts, in bytes.
const encryptedBy = 512

// unsound reads an archived log, and the beginning of the server's.
func (p *purger) unsound(l Log) ([]string, error) {
	id := clientID(p.Host, p.Instance+"\x00purge") // not the archiver's: the server would drop that one's connection
	begins, err := peek(p.ctx, p.Source, p.facts.server.Product, id, l.Name, p.Log)
	if err != nil {
		return nil, err
	}
	if begins.head() != l.Head {
		return []string{"the archived one is another log of the same name"}, nil
	}
	err = p.Archive.Verify(l)
	switch {
	case errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist):
		return []string{"what is archived of it is damaged: " + err.Error()}, nil
	case err != nil:
		return nil, err
	}
	return nil, nil
}

// fine says what was found about a log that may go.
func (p *purger) fine(l Log) string {
	text := fmt.Sprintf("archived whole and verified (%d)", l.Seq)
	if p.Shipped != nil {
		text += ", in the repository"
	}
	return text + told(p.readers, l)
}

// Purge carries the plan out, and notes what is gone: the server keeps what a replica is being sent.
func (p *Purging) Purge(ctx context.Context, admin Source) error {
	if p.To == "" {
		return nil
	}
	conn, f, err := meet(ctx, &admin)
	if err != nil {
		return err
	}
	defer conn.Close()
	if !sameServer(f.server, p.Server) {
		return fmt.Errorf("%s and %s are two servers: nothing is purged", admin.Address(), p.Address)
	}
	if _, err := conn.Execute("PURGE BINARY LOGS TO '" + mysql.Escape(p.To) + "'"); err != nil {
		return purgeRefused(err)
	}
	left, err := logFiles(conn)
	if err != nil {
		return err
	}
	for i := range p.Logs {
		v := &p.Logs[i]
		v.Purged = v.Purge && !slices.ContainsFunc(left, func(l logFile) bool { return l.name == v.Name })
		if v.Purge && !v.Purged {
			v.Why = append(v.Why, "the server kept it: it is being sent to a replica")
		}
	}
	return nil
}

func purgeRefused(err error) error {
	err = fmt.Errorf("cannot purge binary logs: %w", err)
	if codeOf(err) == mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR {
		return hinted{err, "the account wants BINLOG_ADMIN (MariaDB: BINLOG ADMIN; before MySQL 8.0 and MariaDB 10.5: SUPER)"}
	}
	return err
}
