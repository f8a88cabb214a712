package restore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/holdstill/holdstill/internal/binlog"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// positionError is a copy that stands elsewhere than its point says.
type positionError struct{ text string }

func (e *positionError) Error() string { return e.text }

// Hint says how to take the copy all the same.
func (e *positionError) Hint() string {
	return "take another point; if these data are all there is, --accept-position restores them all the same"
}

// binlogEnd is the size that the recorded binary log has in the copy, before a boot opens a new one; -1 if it is not there.
func (j *Job) binlogEnd() int64 {
	at := j.Plan.Request.Point.Position
	if at.File == "" {
		return -1
	}
	info, err := os.Stat(filepath.Join(j.Plan.Request.Datadir, filepath.Base(at.File)))
	if err != nil {
		return -1
	}
	return info.Size()
}

// verify checks on the first boot what can be proven.
func (j *Job) verify(ctx context.Context, db *sql.DB, binlog int64) error {
	version, err := Value(ctx, db, "SELECT VERSION()")
	if err != nil {
		return fmt.Errorf("the copy does not answer queries: %w", err)
	}
	j.verified("the copy recovered and answers as version " + version)
	j.Result.Position = j.Plan.Request.Point.Position
	if err := errors.Join(j.verifyGTID(ctx, db), j.verifyFile(binlog), j.verifyChannels(ctx, db)); err != nil {
		return err
	}
	return j.listPrepared(ctx, db)
}

// differs turns a difference into an error or a warning.
func (j *Job) differs(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if j.Plan.Request.AcceptPosition || j.Plan.Request.Point.Consistency != catalog.Application {
		j.warn(text)
		return nil
	}
	return &positionError{text}
}

func (j *Job) verifyGTID(ctx context.Context, db *sql.DB) error {
	want := j.Plan.Request.Point.Position.GTID
	if want == "" {
		return nil
	}
	have, same, behind, err := compareGTID(ctx, db, j.Plan.Server.Product, want)
	switch {
	case err != nil:
		return fmt.Errorf("cannot read the copy's GTID position: %w", err)
	case same:
		j.verified("the GTID position is the recorded one, " + oneLine(want))
		return nil
	case behind:
		return j.differs("the copy's GTID position %q lacks transactions of the recorded one, %q", oneLine(have), oneLine(want))
	}
	j.warn(fmt.Sprintf("the copy's GTID position %q is beyond the recorded one, %q", oneLine(have), oneLine(want)))
	return nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), "") }

// CompareGTID tells where the server stands, and whether that is the wanted position.
func CompareGTID(ctx context.Context, db *sql.DB, product, want string) (have string, same bool, err error) {
	have, same, _, err = compareGTID(ctx, db, product, want)
	return oneLine(have), same, err
}

// compareGTID compares the server's own position with one that was recorded.
func compareGTID(ctx context.Context, db *sql.DB, product, want string) (have string, same, behind bool, err error) {
	if !isMariaDB(product) {
		if have, err = Value(ctx, db, "SELECT @@GLOBAL.gtid_executed"); err != nil {
			return have, false, false, err
		}
		row, err := Rows(ctx, db, "SELECT GTID_SUBSET(?, ?) AS holds, GTID_SUBSET(?, ?) AS more", want, have, have, want)
		if err != nil {
			return have, false, false, err
		}
		return have, row[0]["holds"] == "1" && row[0]["more"] == "1", row[0]["holds"] != "1", nil
	}
	// What is recorded is the position of the binary log; a replica that writes none stands at what it applied.
	for _, variable := range []string{"gtid_binlog_pos", "gtid_current_pos", "gtid_slave_pos"} {
		value, err := Value(ctx, db, "SELECT @@GLOBAL."+variable)
		if err != nil {
			return have, false, false, err
		}
		if have == "" || GTIDReached(value, want) {
			have = value
		}
		if GTIDReached(value, want) && GTIDReached(want, value) {
			return value, true, false, nil
		}
	}
	return have, false, !GTIDReached(have, want), nil
}

// GTIDReached tells for MariaDB's positions whether have is at want or beyond it in every domain of want.
func GTIDReached(have, want string) bool {
	at, err := binlog.ParseGTIDs(true, have)
	if err != nil {
		return false
	}
	wanted, err := binlog.ParseGTIDs(true, want)
	return err == nil && at.Has(wanted)
}

// verifyFile compares the end of the recorded binary log. A server that was stopped after its position was read (cold)
// added the event of its stop.
func (j *Job) verifyFile(size int64) error {
	p := j.Plan.Request.Point
	at := p.Position
	switch {
	case at.File == "":
		return nil
	case size < 0:
		return j.differs("the copy does not hold the recorded binary log %s", at.File)
	case uint64(size) < at.Offset:
		return j.differs("the copy's binary log %s ends at %d, before the recorded position %d", at.File, size, at.Offset)
	case uint64(size) == at.Offset:
		j.verified(fmt.Sprintf("the binary log ends at the recorded position, %s:%d", at.File, at.Offset))
	case p.Mode == database.Cold:
		j.verified(fmt.Sprintf("the binary log holds the recorded position, %s:%d", at.File, at.Offset))
	default:
		j.warn(fmt.Sprintf("the copy's binary log %s ends at %d, beyond the recorded position %d", at.File, size, at.Offset))
	}
	return nil
}

// verifyChannels compares where the applier of each channel stands.
func (j *Job) verifyChannels(ctx context.Context, db *sql.DB) error {
	sources := j.Plan.Request.Point.Sources
	if len(sources) == 0 {
		return nil
	}
	status, err := ReplicaStatus(ctx, db, j.Plan.Server)
	if err != nil {
		return fmt.Errorf("cannot read the copy's replication state: %w", err)
	}
	for _, c := range sources {
		row, ok := status[c.Name]
		if !ok {
			return j.differs("the copy does not know the channel %q", c.Name)
		}
		file, pos := row.First("Relay_Source_Log_File", "Relay_Master_Log_File"), row.First("Exec_Source_Log_Pos", "Exec_Master_Log_Pos")
		if file == c.File && pos == strconv.FormatUint(c.Offset, 10) {
			j.verified(fmt.Sprintf("the replica%s stands at its recorded position of the source, %s:%s", channelName(c.Name), file, pos))
		} else if !c.AutoPosition {
			if err := j.differs("the copy's replica%s stands at %s:%s of its source, not at the recorded %s:%d", channelName(c.Name), file, pos, c.File, c.Offset); err != nil {
				return err
			}
		}
	}
	return nil
}

func channelName(name string) string {
	if name == "" {
		return ""
	}
	return " (channel " + name + ")"
}

// ReplicaStatus is the state of every channel, by name.
func ReplicaStatus(ctx context.Context, db *sql.DB, server Program) (map[string]Row, error) {
	statement := "SHOW SLAVE STATUS"
	switch v := ParseVersion(server.Version); {
	case isMariaDB(server.Product):
		statement = "SHOW ALL SLAVES STATUS"
	case v.AtLeast(8, 0, 22):
		statement = "SHOW REPLICA STATUS"
	}
	rows, err := Rows(ctx, db, statement)
	out := map[string]Row{}
	for _, r := range rows {
		out[r.First("Channel_Name", "Connection_name")] = r
	}
	return out, err
}

// listPrepared tells the XA transactions that wait for a decision; they hold their locks.
func (j *Job) listPrepared(ctx context.Context, db *sql.DB) error {
	rows, err := Rows(ctx, db, "XA RECOVER")
	if err != nil {
		j.warn("prepared XA transactions cannot be listed: " + err.Error())
		return nil
	}
	for _, r := range rows {
		j.Result.PreparedXA = append(j.Result.PreparedXA, fmt.Sprintf("%q", r["data"]))
	}
	if len(rows) == 0 {
		j.verified("no XA transaction is left prepared")
	}
	return nil
}

// persistedArgs are the persisted variables as options: they are not loaded on the first boot, but the copy should
// recover as the server ran (gtid_mode is often persisted).
func persistedArgs(dir string) []string {
	content, err := os.ReadFile(filepath.Join(dir, persistedName))
	if err != nil {
		return nil
	}
	var tree map[string]json.RawMessage
	if json.Unmarshal(content, &tree) != nil {
		return nil
	}
	var out []string
	collectPersisted(tree, &out)
	slices.Sort(out)
	return out
}

func collectPersisted(tree map[string]json.RawMessage, out *[]string) {
	for name, raw := range tree {
		var below map[string]json.RawMessage
		if json.Unmarshal(raw, &below) != nil || below == nil {
			continue
		}
		var value string
		if json.Unmarshal(below["Value"], &value) != nil {
			collectPersisted(below, out)
			continue
		}
		if slices.Contains([]string{"event_scheduler", "server_id", "skip_networking"}, name) || secret(name) {
			continue
		}
		*out = append(*out, "--loose-"+strings.ReplaceAll(name, "_", "-")+"="+value)
	}
}

// secret tells variables that must not be seen in the list of processes.
func secret(name string) bool {
	for _, word := range []string{"password", "secret", "token", "key"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
