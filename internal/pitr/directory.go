package pitr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/holdstill/holdstill/internal/binlog"
)

// Directory lists the binary logs of a server from its own files: index is the file that lists them, or the directory that holds exactly one
// such file. The server may be running.
func Directory(index, server string) (Logs, error) {
	out := Logs{From: index, Until: time.Now().Add(-time.Second)} // what was committed then is in the files by now
	if info, err := os.Stat(index); err != nil {
		return out, fmt.Errorf("cannot read binary logs: %w", err)
	} else if info.IsDir() {
		if index, err = onlyIndex(index); err != nil {
			return out, err
		}
	}
	list, err := os.ReadFile(index)
	if err != nil {
		return out, fmt.Errorf("cannot read the list of binary logs: %w", err)
	}
	for _, line := range strings.Fields(string(list)) {
		path := line
		if !filepath.IsAbs(path) || !exists(path) {
			path = filepath.Join(filepath.Dir(index), filepath.Base(line)) // relative to the data directory, or moved with the index
		}
		size, err := wholeEvents(path)
		if err != nil {
			return out, fmt.Errorf("cannot read the binary log %s: %w", line, err)
		}
		out.All = append(out.All, Log{Server: server, Name: filepath.Base(line), Path: path, Size: size})
	}
	return out, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// onlyIndex finds the list of binary logs in a directory. Relay logs have one, too.
func onlyIndex(dir string) (string, error) {
	all, err := filepath.Glob(filepath.Join(dir, "*.index"))
	if err != nil {
		return "", err
	}
	var found []string
	for _, path := range all {
		if content, err := os.ReadFile(path); err == nil && !strings.Contains(filepath.Base(path), "relay") && len(content) > 0 {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("there are %d lists of binary logs (*.index) in %s: name one", len(found), dir)
	}
	return found[0], nil
}

// wholeEvents is the length of the part of a file that ends with a whole event: a server may be writing the next.
func wholeEvents(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	header := make([]byte, replication.EventHeaderSize)
	if _, err := f.ReadAt(header[:binlog.Start], 0); err == nil && header[0] == 0xfd {
		return 0, errors.New("it is encrypted: take the logs from the archive, or fetch them with the server's own client")
	}
	for at := binlog.Start; ; {
		_, err := f.ReadAt(header, at)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return 0, err
		}
		size := int64(binary.LittleEndian.Uint32(header[9:]))
		if size < replication.EventHeaderSize || at+size > info.Size() {
			return at, nil
		}
		at += size
	}
}
