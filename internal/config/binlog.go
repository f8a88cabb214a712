package config

import (
	"net"
	"path/filepath"
	"strconv"
)

// Binlog is how the binary logs of an instance are archived.
type Binlog struct {
	Directory        string   `yaml:"directory"`          // where they are kept; default STATE/binlog/INSTANCE
	ClientOptionFile string   `yaml:"client_option_file"` // [client] user and password of the replication account; default: as the instance is reached
	Servers          []string `yaml:"servers"`            // HOST:PORT of those of the same topology that it may go on with
	FailoverAfter    Duration `yaml:"failover_after"`     // how long the server must be away before
}

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
