package catalog

import (
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Consistency is what a restore point is proven to be.
type Consistency string

// The levels, best first.
const (
	Application Consistency = "application" // the server was held still, at a known position
	Filesystem  Consistency = "filesystem"  // the file systems were frozen, the server was not held
	Crash       Consistency = "crash"       // as after a power cut
)

// Meets reports whether c is as good as wanted or better.
func (c Consistency) Meets(wanted Consistency) bool { return c.rank() >= wanted.rank() }

func (c Consistency) rank() int {
	switch c {
	case Application:
		return 3
	case Filesystem:
		return 2
	case Crash:
		return 1
	}
	return 0
}

// Status is how far a point has come.
type Status string

// The states of a point, in their order.
const (
	Recorded Status = "recorded"
	Shipped  Status = "shipped"
	Verified Status = "verified"
	Expired  Status = "expired"
)

// Point is a restore point as the command line shows it. The JSON keys are a contract: add, never rename.
type Point struct {
	ID                string             `json:"id"`
	Instance          string             `json:"instance"`
	Host              string             `json:"host"`
	TakenAt           time.Time          `json:"taken_at"` // by the machine's clock, which may have been set back since
	Sequence          int64              `json:"sequence"` // the order in which points were recorded; 0 in entries from before there was one
	Status            Status             `json:"status"`
	Pinned            bool               `json:"pinned"`
	Consistency       Consistency        `json:"consistency"`
	ConsistencyReason string             `json:"consistency_reason"`
	Role              database.Role      `json:"role"`
	Chain             bool               `json:"chain"`
	Mode              database.Mode      `json:"mode"`
	Server            Server             `json:"server"`
	Position          database.Position  `json:"position"`
	Sources           []database.Channel `json:"sources"`
	Window            Window             `json:"window"`
	Stages            []Stage            `json:"stages"`
	Volumes           []Volume           `json:"volumes"`
	Snapshot          Snapshot           `json:"snapshot"`
	SizeBytes         int64              `json:"size_bytes"`
	Repository        *Shipment          `json:"repository"`
	Dumps             []Dump             `json:"dumps"`
	Verified          *Verification      `json:"verified"`
	Warnings          []string           `json:"warnings"`
	PreparedXA        []string           `json:"prepared_xa,omitempty"`
	Paths             []Located          `json:"paths"`
	Process           database.Process   `json:"process"`
	Settings          map[string]string  `json:"settings,omitempty"`
	// Scripts are those that held the application, where it is no server.
	Scripts []database.ScriptRun `json:"scripts,omitempty"`
}

// Server is who was cut.
type Server struct {
	Product    string `json:"product"`
	Version    string `json:"version"`
	ServerID   uint32 `json:"server_id"`
	ServerUUID string `json:"server_uuid"`
	Port       int    `json:"port"`
	Address    string `json:"address,omitempty"` // where others reach it, if known
}

// Window is what the run cost the users of the server, in milliseconds.
type Window struct {
	StallMS    float64 `json:"stall_ms"`    // from the first moment a commit could block to the last
	LockMS     float64 `json:"lock_ms"`     // from the grant of the lock to its release
	FreezeMS   float64 `json:"freeze_ms"`   // from the first freeze asked to the last thaw answered
	SnapshotMS float64 `json:"snapshot_ms"` // the cut itself
}

// Stage is one part of a run.
type Stage struct {
	Name      string    `json:"name"`
	StartedAt time.Time `json:"started_at"`
	MS        float64   `json:"ms"`
}

// Volume is a file system that the point holds.
type Volume struct {
	Path       string `json:"path"` // mount point
	Device     string `json:"device"`
	Filesystem string `json:"filesystem"`
}

// Located is one of the server's paths and the unit of the cut that holds it.
type Located struct {
	Purpose database.Purpose `json:"purpose"`
	Place   mount.Place      `json:"place"`
	Unit    string           `json:"unit"` // "": none; the cut does not hold it (a keyring)
}

// Snapshot is the local cut.
type Snapshot struct {
	Provider string         `json:"provider"` // of the data directory
	Refs     []snapshot.Ref `json:"refs"`
}

// Shipment is the copy in a repository.
type Shipment struct {
	ID        string `json:"id"`
	NewBytes  int64  `json:"new_bytes"`
	ReadBytes int64  `json:"read_bytes"`
	Chunk     int    `json:"chunk_bytes,omitempty"` // the length of the pieces that files are cut into
}

// Dump is one table's dump.
type Dump struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	File     string `json:"file"`
	Bytes    int64  `json:"bytes"`
}

// Verification is what a boot in a scratch server proved.
type Verification struct {
	At     time.Time `json:"at"`
	OK     bool      `json:"ok"`
	Checks []string  `json:"checks"`
}
