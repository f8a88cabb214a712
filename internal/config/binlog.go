package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"
)

// Binlog is how the binary logs of an instance are archived.
type Binlog struct {
	Directory        string   `yaml:"directory"`          // where they are kept; default STATE/binlog/INSTANCE
	ClientOptionFile string   `yaml:"client_option_file"` // [client] user and password of the replication account; default: as the instance is reached
	Servers          []string `yaml:"servers"`            // HOST:PORT of those of the same topology that it may go on with
	FailoverAfter    Duration `yaml:"failover_after"`     // how long the server must be away before
	KeepOnServer     Duration `yaml:"keep_on_server"`     // how old a log is at least that binlog purge removes; default a day
	Ship             *bool    `yaml:"ship"`               // whether what is archived goes to the repository; default yes, if there is one
	ShipEvery        Duration `yaml:"ship_every"`         // what arrived is sent after so long; default 10s
	ShipSize         Size     `yaml:"ship_size"`          // or as soon as it is so much; default 16MiB
}

// KeepOnServer is for how long logs stay on the server where nothing is said.
const KeepOnServer = 24 * time.Hour

// Keeps is for how long logs stay on the server.
func (b Binlog) Keeps() time.Duration {
	if b.KeepOnServer == 0 {
		return KeepOnServer
	}
	return time.Duration(b.KeepOnServer)
}

// Ships tells whether what is archived goes to the repository.
func (b Binlog) Ships() bool { return b.Ship == nil || *b.Ship }

// The bounds of what is sent at once.
const (
	shortestShip, longestShip = time.Second, time.Hour
	leastShip, mostShip       = 64 << 10, 1 << 30
)

// Size is in bytes, written as "16MiB".
type Size int64

// UnmarshalYAML reads a size such as 512KiB, 16MiB or 1GB.
func (s *Size) UnmarshalYAML(node *yaml.Node) error {
	n, err := humanize.ParseBytes(node.Value)
	if err != nil || n == 0 || n > 1<<50 {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %q is no size: write it as 512KiB or 16MiB", node.Line, node.Value)}}
	}
	*s = Size(n)
	return nil
}

// BinlogCache is where logs that come from the repository are kept for a while.
func (d Dirs) BinlogCache() string { return filepath.Join(d.Repository(), "binlog") }

// BinlogArchive is where an instance's binary logs are archived.
func (d Dirs) BinlogArchive(i *Instance) string {
	if i.Binlog.Directory != "" {
		return i.Binlog.Directory
	}
	return filepath.Join(d.State, "binlog", i.Name)
}

// BinlogLocks is where the locks of the archivers are.
func (d Dirs) BinlogLocks() string { return filepath.Join(d.Run, "binlog") }

// faults are those of the section; their keys are below binlog.
func (b Binlog) faults() []fault {
	var out []fault
	if b.Directory != "" && !filepath.IsAbs(b.Directory) {
		out = append(out, fault{"directory", "the directory must be an absolute path"})
	}
	if b.ClientOptionFile != "" {
		if !filepath.IsAbs(b.ClientOptionFile) {
			out = append(out, fault{"client_option_file", "the client_option_file must be an absolute path"})
		} else {
			for _, text := range ownership(b.ClientOptionFile, "read", 0o077) {
				out = append(out, fault{"client_option_file", text})
			}
		}
	}
	for _, server := range b.Servers {
		if _, _, err := SplitServer(server); err != nil {
			out = append(out, fault{"servers", "write each server as HOST:PORT, not " + strconv.Quote(server)})
		}
	}
	if every := time.Duration(b.ShipEvery); every != 0 && (every < shortestShip || every > longestShip) {
		out = append(out, fault{"ship_every", fmt.Sprintf("logs are shipped every %s at the soonest and %s at the latest", shortestShip, longestShip)})
	}
	if b.ShipSize != 0 && (b.ShipSize < leastShip || b.ShipSize > mostShip) {
		out = append(out, fault{"ship_size", "a ship_size is from 64KiB to 1GiB"})
	}
	if len(b.Servers) > 0 && b.ClientOptionFile == "" {
		out = append(out, fault{"servers", "other servers want an account: name its client_option_file"})
	}
	return out
}

// SplitServer reads HOST:PORT.
func SplitServer(text string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err == nil && (host == "" || n == 0) {
		err = strconv.ErrRange
	}
	return host, int(n), err
}
