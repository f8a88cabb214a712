package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

const (
	heartbeat = 2 * time.Second
	silence   = 30 * time.Second // after which a server counts as gone
)

// dump is a server's stream of events, handed to a handler one after the other.
type dump struct {
	syncer   *replication.BinlogSyncer
	streamer *replication.BinlogStreamer
	handler  *kept
}

// kept keeps the handler's error as it was: the library wraps it.
type kept struct {
	handle func(*replication.BinlogEvent) error
	err    error
}

func (k *kept) HandleEvent(e *replication.BinlogEvent) error {
	k.err = k.handle(e)
	return k.err
}

// startDump asks the server for its log from a position on. By file and position, since by GTID the server leaves out transactions.
func startDump(s Source, product string, id uint32, from position, log *slog.Logger, handle func(*replication.BinlogEvent) error) (*dump, error) {
	d := &dump{handler: &kept{handle: handle}}
	config := replication.BinlogSyncerConfig{
		ServerID: id, Flavor: product, Host: s.Host, Port: uint16(s.Port), User: s.User, Password: s.Password, TLSConfig: s.TLS,
		Localhost: "holdstill", Dialer: calmly, RawModeEnabled: true, DisableRetrySync: true,
		HeartbeatPeriod: heartbeat, ReadTimeout: silence, SynchronousEventHandler: d.handler,
		Logger: slog.New(quiet{log.Handler()}),
	}
	if s.Socket != "" {
		config.Host, config.Port = s.Socket, 0
	}
	if product == MariaDB {
		config.DumpCommandFlag = replication.BINLOG_SEND_ANNOTATE_ROWS_EVENT // else it leaves them out
	}
	d.syncer = replication.NewBinlogSyncer(config)
	var err error
	if d.streamer, err = d.syncer.StartSync(mysql.Position{Name: from.file, Pos: uint32(from.at)}); err != nil {
		d.syncer.Close()
		return nil, fmt.Errorf("cannot follow the binary log of %s from %s on: %w", s.Address(), from, refusedDump(err))
	}
	return d, nil
}

func refusedDump(err error) error {
	if codeOf(err) == mysql.ER_ACCESS_DENIED_ERROR || codeOf(err) == mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR {
		return hinted{err, "the account wants REPLICATION SLAVE"}
	}
	return err
}

// wait returns when the stream ends: with the handler's error, or that of the connection, or of the context.
func (d *dump) wait(ctx context.Context) error {
	_, err := d.streamer.GetEvent(ctx)
	if err == nil {
		err = errors.New("the stream ended")
	}
	return err
}

// close ends the stream, and returns what the handler said last.
func (d *dump) close() error {
	d.syncer.Close()
	return d.handler.err
}

// quiet hands on what the library logs for those who debug; it thinks of everything as news.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }
func (q quiet) WithGroup(name string) slog.Handler   { return quiet{q.Handler.WithGroup(name)} }

// opening are the first events of a server's log.
type opening struct {
	format, second []byte
	hole           int64 // bytes between them that the server does not send
	checksums      bool
	first          time.Time
	before         *gtids
}

var errEnough = errors.New("enough was read")

// add takes the events of a log from its beginning, until there are enough.
func (o *opening) add(raw []byte) (complete bool, err error) {
	h, err := readHeader(raw)
	if err != nil {
		return false, err
	}
	if o.format == nil {
		if h.kind != replication.FORMAT_DESCRIPTION_EVENT {
			return false, fmt.Errorf("%w: the log begins with an event of type %d", errDamaged, h.kind)
		}
		if o.checksums, err = checksummed(raw); err != nil {
			return false, err
		}
		o.format, o.first = cleared(raw), h.at
		return false, errors.Join(sound(o.format, h, o.checksums), placed(h, start))
	}
	if err := sound(raw, h, o.checksums); err != nil {
		return false, err
	}
	o.second = append([]byte(nil), raw...)
	if h.end != 0 {
		o.hole = int64(h.end) - h.size - start - int64(len(o.format))
	}
	if o.hole < 0 || o.hole > 0 && o.hole < headerSize+checksumSize {
		return false, fmt.Errorf("%w: the log's second event cannot end at %d", errDamaged, h.end)
	}
	o.before, err = listed(h.kind, body(raw, o.checksums))
	return true, err
}

// isArtificial are events that the server makes for its clients, and that are in no file. MariaDB's Start_encryption is in one, but behind
// it the file is encrypted, and what is sent is not: whoever took it for true would decrypt what is clear.
func isArtificial(h header) bool {
	return h.kind == replication.HEARTBEAT_EVENT || h.kind == heartbeat2 || h.kind == replication.MARIADB_START_ENCRYPTION_EVENT ||
		h.flags&artificial != 0 && h.end == 0
}

// peek reads the beginning of one of the server's logs.
func peek(ctx context.Context, s Source, product string, id uint32, name string, log *slog.Logger) (*opening, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := &opening{}
	d, err := startDump(s, product, id, position{name, start}, log, func(e *replication.BinlogEvent) error {
		h, err := readHeader(e.RawData)
		if err != nil || isArtificial(h) {
			return err
		}
		complete, err := o.add(e.RawData)
		if complete && err == nil {
			err = errEnough
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = d.wait(ctx)
	if told := d.close(); told != nil {
		err = told
	}
	if !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("cannot read the beginning of %s of %s: %w", name, s.Address(), err)
	}
	return o, nil
}
