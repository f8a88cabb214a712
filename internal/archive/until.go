package archive

import (
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// untilFile holds a time, RFC 3339: all that the server had committed then is archived. It lets one tell a quiet server from an archiver that
// was not there. After a power cut it may be older than the truth, or empty, which says nothing.
const untilFile = "until"

// complete notes that the archive ended, synced, where the server did when that was asked for. A transaction has its time before it is in the log,
// and MariaDB tells seconds: hence the margin.
func (a *archiver) complete(asked time.Time) {
	text := []byte(asked.Add(-time.Second).UTC().Format(time.RFC3339Nano) + "\n")
	if err := renameio.WriteFile(filepath.Join(a.Dir, untilFile), text, 0o600); err != nil {
		a.Log.Debug("the time until which the archive is complete cannot be noted: "+err.Error(), "instance", a.Instance)
	}
}

// Until is a time at which the archive held all that the server had committed, by this machine's clock; zero if that was never noted.
func (a *Archive) Until() time.Time {
	raw, err := os.ReadFile(filepath.Join(a.dir, untilFile))
	if err != nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, string(raw[:max(0, len(raw)-1)]))
	if err != nil {
		return time.Time{}
	}
	return at
}
